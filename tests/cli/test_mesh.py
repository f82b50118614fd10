"""`pommel mesh` as a person types it, over a fake server; a machine is a record and a QEMU with next to nothing in it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.meshes import kill, made, start
from driver import Shell
from machine.bare import end
from mesh.doubles import identity
from mesh.fake_server import FakeServer, fake_server
from pommel import locks
from pommel.app.machine import clones
from pommel.app.workspace import Workspace
from pommel.paths import Home, MachinePaths
from waits import until, wait_until


@pytest.fixture
def where(shell: Shell) -> Iterator[Workspace]:
    """What the shell's commands see."""
    yield Workspace(Home.find(shell.env), shell.cwd, shell.env)
    for pidfile in shell.home.glob("machines/*/qemu.pid"):
        end(pidfile)


@pytest.fixture
def paths(where: Workspace) -> MachinePaths:
    return made(where)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeServer]:
    async with fake_server(tmp_path) as one:
        yield one


@pytest.fixture
def ticket(shell: Shell, server: FakeServer) -> str:
    file = shell.cwd / "group.msh"
    file.write_bytes(server.msh_file)
    return str(file)


async def run(shell: Shell, *words: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(lambda: shell.run("mesh", *words, status=status))


async def told(shell: Shell, *words: str, status: int = 0) -> Any:
    return json.loads((await run(shell, *words, "--json", status=status)).stdout.splitlines()[-1])


async def test_a_machine_that_does_not_run_joins_and_leaves(
    shell: Shell, paths: MachinePaths, server: FakeServer, ticket: str
) -> None:
    dry = await run(shell, "join", "trial", "--msh", ticket, "--dry-run")
    assert dry.stdout == f"trial would join the group tests on {server.msh.servers[0].url}\n"
    assert not paths.mesh.exists()
    done = await run(shell, "join", "trial", "--msh", ticket)
    where = f"the group tests on {server.msh.servers[0].url}"
    assert done.stdout == f"trial has joined {where}; offline: trial is not running\n"
    assert done.stderr == "hint: pommel start trial\n"
    assert not shell.processes() and server.introductions == []
    first = await told(shell, "status", "trial")
    assert (first["standing"], first["group"], first["agent_id"]) == ("offline", "tests", 10005)
    pairs = (await run(shell, "status", "trial")).stdout
    assert f"node      {first['node_id']}\n" in pairs and f"server    {first['server']}\n" in pairs
    table = (await run(shell, "list")).stdout.splitlines()
    assert table[0].split() == ["NAME", "STANDING", "VIEWERS", "GROUP", "SERVER", "WHY"]
    assert table[1].split()[:4] == ["trial", "offline", "0", "tests"]
    assert (await told(shell, "status"))["machines"] == [first]
    again = await told(shell, "join", "trial", "--msh", ticket, "--agent-id", "16")
    assert (again["node_id"], again["agent_id"]) == (first["node_id"], 16), "the same device, another kind"
    assert shell.json("status", "trial")["mesh"] == "offline"
    assert await told(shell, "leave", "trial") == {"name": "trial", "left": True}
    assert not paths.mesh.exists()
    gone = await run(shell, "leave", "trial", status=3)
    assert "trial has not joined a MeshCentral server\nhint: pommel mesh join trial --msh FILE" in gone.stderr
    assert "no machine has joined" in (await run(shell, "list")).stderr


async def test_one_that_runs_is_online_at_once_and_the_process_is_there_for_the_next(
    shell: Shell, paths: MachinePaths, server: FakeServer, ticket: str
) -> None:
    await start(paths)
    done = await run(shell, "join", "trial", "--msh", ticket)
    assert done.stdout.endswith("; online\n")
    assert b"trial" in server.introductions[-1]
    seen = await told(shell, "status", "trial")
    assert (seen["standing"], seen["viewers"]) == ("online", 0)
    assert "mesh    online\n" in shell.run("status", "trial").stdout
    assert [one["mesh"] for one in shell.json("list")["machines"]] == ["online"]
    second = await run(shell, "run", status=3)
    assert f"are already kept online (pid {seen['mesh_pid']})" in second.stderr
    os.kill(seen["mesh_pid"], signal.SIGKILL)
    left = await until(lambda: locks.holder(shell.home / "mesh" / "lock") is None)
    assert left
    assert (await told(shell, "status", "trial"))["why"] == "no process keeps it online"
    seen = await told(shell, "join", "trial", "--msh", ticket)
    assert seen["standing"] == "online"
    await kill(paths)
    await until(lambda: server.agents[-1].closed)
    os.kill(seen["mesh_pid"], signal.SIGTERM)
    await until(lambda: not shell.processes())
    assert (shell.home / "mesh" / "log").read_text() == ""


async def test_a_wrong_server_is_refused_with_the_reason(shell: Shell, paths: MachinePaths, tmp_path: Path) -> None:
    async with fake_server(tmp_path, key=identity(3)) as other:
        await start(paths)
        (shell.cwd / "group.msh").write_bytes(other.msh_file)
        done = await run(shell, "join", "trial", "--msh", "group.msh", status=1)
    assert "; refused: " in done.stdout and "not the server of the .msh file" in done.stdout
    assert "hint: " in done.stderr
    seen = await told(shell, "status", "trial")
    assert (seen["standing"], bool(seen["why"]), bool(seen["hint"])) == ("refused", True, True)


async def test_in_the_foreground_it_says_what_happens(
    shell: Shell, paths: MachinePaths, server: FakeServer, ticket: str
) -> None:
    await run(shell, "join", "trial", "--msh", ticket)
    await start(paths)
    for words, signals in ((("run",), signal.SIGINT), (("run", "--json"), signal.SIGTERM)):
        child = shell.popen("mesh", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        count = len(server.introductions)
        await until(lambda count=count: len(server.introductions) > count)
        assert locks.holder(shell.home / "mesh" / "lock") == child.pid
        wait = asyncio.to_thread(wait_until, lambda: shell.json("mesh", "status", "trial")["standing"] == "online", 20)
        await wait
        child.send_signal(signals)
        out, err = (text.decode() for text in await asyncio.to_thread(child.communicate))
        assert child.returncode == 0
        if "--json" in words:
            assert [json.loads(line)["standing"] for line in out.splitlines()] == ["connecting", "online", "offline"]
        else:
            assert [line.partition(": ")[2] for line in err.splitlines()[1:]] == ["connecting", "online", "offline"]
            assert out == ""


async def test_what_is_no_ticket_is_told(shell: Shell, paths: MachinePaths) -> None:
    none = await run(shell, "join", "trial", "--msh", "nowhere.msh", status=2)
    assert "nowhere.msh cannot be read: No such file or directory" in none.stderr
    assert "hint: give the .msh file" in none.stderr
    (shell.cwd / "page.html").write_text("<html>")
    page = await run(shell, "join", "trial", "--msh", "page.html", status=1)
    assert "it is a web page" in page.stderr
    plain = await run(shell, "join", "trial", "--msh", "http://127.0.0.1/x", status=2)
    assert "https://" in plain.stderr
    agent = await run(shell, "join", "trial", "--msh", "page.html", "--agent-id", "3", status=2)
    assert "cannot use the agent id 3" in agent.stderr
    assert "there is no machine called" in (await run(shell, "join", "nobody", "--msh", "x", status=2)).stderr
    assert not paths.mesh.exists()


async def test_a_clone_is_no_member_and_a_deleted_machine_leaves_nothing(
    shell: Shell, where: Workspace, paths: MachinePaths, server: FakeServer, ticket: str
) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(paths.disk), "1M"], check=True)
    await run(shell, "join", "trial", "--msh", ticket)
    for name, keep_identity in (("copy", False), ("twin", True)):
        await asyncio.to_thread(clones.clone, "trial", name, keep_identity=keep_identity, workspace=where)
        assert not where.paths(name).mesh.exists(), "two machines must not be one device"
    await asyncio.to_thread(shell.run, "rename", "trial", "other")
    assert [one["name"] for one in (await told(shell, "list"))["machines"]] == ["other"]
    await asyncio.to_thread(shell.run, "delete", "other", "--yes")
    assert await told(shell, "list") == {"machines": []}
    assert not shell.processes()


def test_names_are_completed(shell: Shell, paths: MachinePaths) -> None:
    paths.mesh.mkdir(mode=0o700)
    (paths.mesh / "joined.json").write_text("{}")
    for verb in ("join", "leave", "status"):
        words = {"_POMMEL_COMPLETE": "bash_complete", "COMP_WORDS": f"pommel mesh {verb} tr", "COMP_CWORD": "3"}
        done = subprocess.run(shell.command, env=shell.env | words, cwd=shell.cwd, capture_output=True, check=False)
        assert done.stdout.split() == [b"plain,trial"], verb


def test_the_service(shell: Shell) -> None:
    shell.env["PATH"] = "/nowhere"  # without systemd, that of whoever runs the tests least of all
    shown = shell.run("mesh", "service", "install", "--dry-run")
    unit = Path(shell.env["XDG_CONFIG_HOME"]) / "systemd" / "user" / "pommel_mesh.service"
    assert str(unit) in shown.stderr and not unit.exists()
    assert shell.json("mesh", "service", "status") == {"unit": str(unit), "installed": False, "active": "inactive"}
    made = shell.run("mesh", "service", "install")
    assert "there is no systemd here" in made.stderr
    assert unit.read_text() == shown.stdout
    assert 'mesh" "run"\n' in shown.stdout and f'"POMMEL_HOME={shell.home}"' in shown.stdout
    assert shell.json("mesh", "service", "status")["installed"] is True
    assert (
        shell.json("mesh", "service", "remove", "--dry-run") == {"unit": str(unit), "removed": False} and unit.exists()
    )
    assert shell.run("mesh", "service", "remove").stdout == f"removed {unit}\n"
    assert "no service keeps the machines online" in shell.run("mesh", "service", "remove", status=3).stderr
    unit.write_text("[Unit]\n")
    assert "is not Pommel's" in shell.run("mesh", "service", "install", status=3).stderr


def test_what_is_left_of_a_machine_that_has_joined_is_removed_with_all_else(shell: Shell, paths: MachinePaths) -> None:
    (shell.home / "mesh").mkdir(mode=0o700)
    (shell.home / "mesh" / "log").write_text("")
    shell.run("uninstall", "--yes")
    assert not (shell.home / "mesh").exists()
