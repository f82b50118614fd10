"""What is started elsewhere finds the same machines: the very words that were written, in an empty environment."""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Shell
from host.test_desktop_entry import value_of
from pommel import proxies
from pommel.app.host import carried
from pommel.app.workspace import Workspace
from pommel.errors import UsageError
from pommel.paths import Home

SRC = Path(carried.__file__).parents[2]
NASTY = "a b%h$HOME'\"\\x"
READERS = {"get", "getenv"}


def variables_read() -> Iterator[tuple[str, str]]:
    """Every environment variable that the source names where it reads one: `env["X"]`, `env.get("X")`, `"X" in env`."""
    for path in SRC.rglob("*.py"):
        if "remote" in path.parts:  # runs in the guest
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            key: ast.AST | None = None
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                owner, key = node.value, node.slice
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS:
                owner, key = node.func.value, node.args[0] if node.args else None
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "folder" and len(node.args) == 3:
                owner, key = node.args[0], node.args[1]  # account.folder(env, "XDG_…", usual)
            elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
                owner, key = node.comparators[0], node.left
            else:
                continue
            if ast.unparse(owner).rpartition(".")[2].strip("_") in ("env", "environ") and isinstance(key, ast.Constant):
                yield str(key.value), f"{path.relative_to(SRC)}:{key.lineno}"


def test_every_variable_that_is_read_is_in_a_list() -> None:
    read = dict(variables_read())
    assert {"POMMEL_HOME", "XDG_DATA_HOME", "DISPLAY", "PATH"} <= read.keys()
    known = {*carried.FOLDERS, *carried.FILES, *carried.WORDS, *carried.OF_A_SESSION, *proxies.NAMES, "PATH", "HOME"}
    strangers = {name: where for name, where in read.items() if name not in known}
    assert strangers == {}, "say in app/host/carried.py whether it decides which machines there are, or is of a session"


@pytest.fixture
def box(shell: Shell) -> Shell:
    """A machine in a home that only the XDG variables name, under a pommel.toml that only POMMEL_CONFIG does."""
    home = shell.root / NASTY / "data"
    (home / "pommel" / "machines").mkdir(parents=True)
    del shell.env["POMMEL_HOME"]
    shell.env["XDG_DATA_HOME"] = str(home)
    shell.config('[machine.mac]\nmemory = "3G"\nupstream = "trial"\n')
    (shell.cwd / "pommel.toml").rename(shell.cwd / "other.toml")
    shell.env["POMMEL_CONFIG"] = "other.toml"
    shell.env["POMMEL_STOP_TIMEOUT"] = "7"
    shell.env["https_proxy"] = "http://ann:hunter22@p:3128"
    shell.env["no_proxy"] = "10.0.0.0/8, localhost"
    record = home / "pommel" / "machines" / "mac" / "machine.json"
    shell.env["LC_ALL"] = "C.UTF-8"
    make = "from pommel.app.workspace import Workspace; from pommel.app.argv import commandline;"
    make += "from pommel.machine import record; w = Workspace.current(); p = w.paths('mac'); p.directory.mkdir();"
    make += (
        "record.save(p.record, commandline.new_record(w.spec('mac'), bytes(19), created='2026-01-01T00:00:00+00:00'))"
    )
    subprocess.run([shell.command[0], "-c", make], env=shell.env, cwd=shell.cwd, check=True)
    assert record.is_file()
    return shell


def bare(argv: list[str], env: dict[str, str], cwd: str = "/") -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=env, cwd=cwd, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def words_of(line: str) -> list[str]:
    """The words of a unit's line as systemd reads them; each of ours stands in double quotes."""
    body = line.partition("=")[2]
    found, at = [], 0
    while at < len(body):
        end = at + 1
        while body[end] != '"':
            end += 2 if body[end] == "\\" else 1
        found.append(ast.literal_eval(body[at : end + 1]).replace("%%", "%").replace("$$", "$"))
        at = end + 2
    return found


def unit(text: str) -> tuple[dict[str, str], list[str]]:
    """What a unit sets, and its command line: ExecStop where there is one, for it ends at once."""
    lines = text.splitlines()
    told = [words_of(line)[0] for line in lines if line.startswith("Environment=")]
    (command, *_) = [line for key in ("ExecStop=", "ExecStart=") for line in lines if line.startswith(key)]
    return dict(word.split("=", 1) for word in told), words_of(command)


def same_machines(box: Shell, argv: list[str], env: dict[str, str], cwd: str = "/") -> None:
    here = box.json("list")
    assert '"name": "mac"' in json.dumps(here)
    done = bare([*argv, "list", "--json"], env, cwd)
    assert json.loads(done.stdout) == here, done.stderr
    told = bare([*argv, "config", "mac", "--json"], env, cwd)
    assert json.loads(told.stdout) == box.json("config", "mac"), told.stderr


def test_a_machines_unit(box: Shell) -> None:
    box.run("service", "install", "mac", "--no-enable")
    path = box.root / "config" / "systemd" / "user" / "pommel-mac.service"
    env, command = unit(path.read_text())
    assert command[-2:] == ["stop", "mac"]
    done = bare(command, env)
    assert done.returncode in (0, 3) and "mac" in done.stderr, done.stderr
    assert "no machine" not in done.stderr and "has not been created" not in done.stderr
    same_machines(box, command[:-2], env)
    assert env["POMMEL_CONFIG"] == str(box.cwd / "other.toml") and env["POMMEL_STOP_TIMEOUT"] == "7"
    assert env["https_proxy"] == "http://ann:hunter22@p:3128" and env["no_proxy"] == "10.0.0.0/8, localhost"
    assert path.stat().st_mode & 0o777 == 0o600  # for the password's sake
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", "--user", path], capture_output=True, text=True)
    assert "Environment" not in checked.stderr and "quot" not in checked.stderr, checked.stderr


def test_a_pommel_toml_that_the_folder_decided(box: Shell) -> None:
    (box.cwd / "other.toml").rename(box.cwd / "pommel.toml")
    del box.env["POMMEL_CONFIG"]
    env, command = unit(box.run("service", "show", "mac").stdout)
    assert env["POMMEL_CONFIG"] == str(box.cwd / "pommel.toml")
    same_machines(box, command[:-2], {key: said for key, said in env.items() if key != "POMMEL_HOME"})


def test_the_units_of_clipboard_and_mesh(box: Shell) -> None:
    for words, tail in ((("clip", "service", "show", "mac"), 4), (("mesh", "service", "install", "--dry-run"), 2)):
        shown = box.run(*words)
        text = shown.stdout + shown.stderr
        env, command = unit(text[text.index("# Written by") :])
        same_machines(box, command[:-tail], env)


def test_the_timers_unit(box: Shell) -> None:
    box.run("snapshot", "timer", "install", "--no-enable")
    folder = box.root / "config" / "systemd" / "user"
    assert {path.name for path in folder.iterdir()} == {"pommel_snapshots.service", "pommel_snapshots.timer"}
    env, command = unit((folder / "pommel_snapshots.service").read_text())
    assert command[-2:] == ["snapshot", "due"]
    same_machines(box, command[:-2], env)
    assert box.json("snapshot", "timer", "status")["installed"]
    box.env["POMMEL_HOME"] = str(box.root / "another")
    assert not box.json("snapshot", "timer", "status")["installed"]
    assert "is for another POMMEL_HOME" in box.run("snapshot", "timer", "status").stdout
    del box.env["POMMEL_HOME"]
    box.run("snapshot", "timer", "remove")
    assert list(folder.iterdir()) == []
    assert "pommel snapshot timer install" in box.run("snapshot", "timer", "remove", status=3).stderr
    (folder / "pommel_snapshots.timer").write_text("[Timer]\nOnCalendar=daily\n")
    for words in ("install", "remove"):
        assert "is not Pommel's" in box.run("snapshot", "timer", words, status=3).stderr


def test_a_menus_entry(box: Shell) -> None:
    box.run("setup", "mac", "--only", "desktop", "--yes")
    entry = (box.root / NASTY / "data" / "applications" / "pommel-mac.desktop").read_text()
    assert "hunter22" not in entry  # its words are seen by everybody
    stop = value_of(entry.partition("[Desktop Action Stop]")[2], "Exec")
    # The quotes of a command line are those of sh.
    listed = subprocess.run(["sh", "-c", f"printf '%s\\0' {stop}"], capture_output=True, text=True, check=True).stdout
    argv = [word.replace("%%", "%") for word in listed.split("\0")[:-1]]
    assert argv[:2] == ["sh", "-c"] and argv[-2:] == ["stop", "mac"]
    plain = {"PATH": "/usr/bin:/bin"}
    done = bare(argv, plain)
    assert "no machine" not in done.stderr and "mac" in done.stderr, done.stderr
    same_machines(box, argv[4:-2], plain)
    assert "no_proxy=10.0.0.0/8, localhost" in argv


def workspace(tmp_path: Path, **env: str) -> Workspace:
    return Workspace(Home(tmp_path, tmp_path / "run", tmp_path / "cache"), tmp_path, env)


def test_another_home_than_the_accounts_is_carried(tmp_path: Path) -> None:
    assert carried.to_entry(workspace(tmp_path, HOME=str(tmp_path)))["HOME"] == str(tmp_path)
    assert "HOME" not in carried.to_entry(workspace(tmp_path, HOME=str(Path("~root").expanduser())))


def test_path_is_carried_where_it_alone_finds_a_program(tmp_path: Path) -> None:
    assert "PATH" not in carried.to_entry(workspace(tmp_path, PATH="/usr/bin:/bin"))
    (tmp_path / "qemu-system-x86_64").write_text("#!/bin/sh\n")
    (tmp_path / "qemu-system-x86_64").chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    assert carried.to_entry(workspace(tmp_path, PATH=path))["PATH"] == path


def test_what_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    for variable in ("XDG_CONFIG_HOME", "POMMEL_CPU", "https_proxy", "PATH"):
        with pytest.raises(UsageError, match=f"{variable} is not valid text"):
            carried.to_unit(workspace(tmp_path, **{variable: "/a\udcff"}))
