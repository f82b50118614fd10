"""What `--json` prints, held against the table of its keys. `Shell.json` does the same in every test that uses it."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from driver import Shell
from json_keys import KEYS, offences
from machine import bare
from pommel import locks
from pommel.machine import lifecycle, record
from pommel.paths import Home, MachinePaths

CLI = Path(__file__).parents[2] / "src" / "pommel" / "cli"
# What commands print by dataclasses.asdict or an `as_dict` of its own: the class, and what its JSON calls a field.
PRINTED = {
    "machine.machines.Status": {}, "clip.status.ClipStatus": {"pid": "sync_pid", "history": "history_size"},
    "mesh.status.MeshStatus": {}, "clip.history.HistoryEntry": {}, "disk.disks.DiskRow": {"snapshots": "snapshot_count"},
    "host.doctor.Check": {}, "host.setup.StepLook": {}, "session.kvm_install.KvmStatus": {}, "session.kvm_daemon.Serving": {"pid": "server_pid"},
    "session.kvm_view.Viewed": {"pid": "server_pid"}, "session.kvm_selftest.SelftestCheck": {}, "session.guest_install.GuestStatus": {},
    "network.reach.Address": {}, "adopt.plan.Item": {}, "upstream.overlay.ArgvChanges": {},
    "disk.snapshot_due.DueSnapshot": {}, "guest.clock.Clock": {}, "machine.memory.Memory": {},
    "unattended.script_disk.ScriptDisk": {}, "recipe.run.RecipeResult": {}, "recipe.run.Visit": {},
}  # fmt: skip
SPELLED = {"str": "str", "int": "int", "float": "float", "bool": "bool", "tuple[str, ...]": "words", "State": "str",
           "DueOutcome": "str", "Stage": "str",
           "Level": "str", "tuple[Difference, ...]": "list", "tuple[Visit, ...]": "list"}  # fmt: skip


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """The keys of every object that is spelled out in a call of print_json, or in a function that makes one."""
    tree = ast.parse(path.read_text())
    makers = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef) and n.name in ("_as_dict", "_image_as_dict", "_version", "_document")
    ]
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print_json"]
    for node in (*makers, *calls):
        mapped = {id(m.value) for m in ast.walk(node) if isinstance(m, ast.DictComp)}  # by somebody's names
        for each in ast.walk(node):
            if isinstance(each, ast.Dict) and id(each) not in mapped:
                yield from ((k.lineno, k.value) for k in each.keys if isinstance(k, ast.Constant))


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.stem)
def test_no_command_spells_a_key_that_is_not_in_the_table(path: Path) -> None:
    assert [f"{path.name}:{line} {key}" for line, key in literals(path) if key not in KEYS] == []


@pytest.mark.parametrize("name", PRINTED)
def test_what_is_printed_whole_has_the_types_of_the_table(name: str) -> None:
    module, _, called = name.rpartition(".")
    for field in dataclasses.fields(getattr(importlib.import_module(f"pommel.app.{module}"), called)):
        key = PRINTED[name].get(field.name, field.name)
        spelled = str(field.type).removesuffix(" | None")
        kind = KEYS[key][0]
        assert kind.removesuffix("?") == SPELLED[spelled], f"{name}.{field.name}"
        assert kind.endswith("?") or " | None" not in str(field.type), f"{name}.{field.name} may be null"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"pidd": 1}, "not in the table"),
        ({"pid": "1"}, "should be int"),
        ({"pid": True}, "should be int"),
        ({"why": None}, "should be str"),
        ({"argv": [1]}, "a list of texts"),
        ({"machines": ["a"]}, "a list of objects"),
        ({"machines": [{"pid": 1.5}]}, "should be int"),
    ],
)
def test_the_check_itself_finds_offences(document: dict[str, Any], said: str) -> None:
    assert said in next(offences(document))


@pytest.mark.parametrize(
    "words", ["list", "status blue", "config blue", "recovery list", "recovery where", "installer list --here",
              "clip status", "clip stop --all",
              "mesh list", "mesh service status", "mesh service install --dry-run",
              "clip service install --host ada@box --dry-run", "clip service remove --host ada@box --dry-run", "up trial --dry-run", "stop --all",
              "kvm status", "kvm install -n", "kvm uninstall -n", "init new", "setup -n", "bootstrap -n",
              "overlay status", "doctor --passthrough", "snapshot due", "snapshot due -n", "snapshot timer status",
              "snapshot timer install -n"],
)  # fmt: skip
def test_documents_without_a_machine(shell: Shell, words: str) -> None:
    shell.config("[machine.blue]\n")
    assert shell.json(*words.split())


def test_errors(shell: Shell) -> None:
    assert shell.json("status", "nobody", status=2)["exit"] == 2


@pytest.fixture
def running(shell: Shell) -> Iterator[MachinePaths]:
    """A machine called m whose QEMU has next to nothing in it."""
    home = Home(shell.home, shell.home / "run", shell.root / "cache")
    paths = bare.make(home)
    mac, now = "52:54:00:00:00:01", "2026-01-01T00:00:00+00:00"
    uuid = "00000000-0000-4000-8000-000000000001"
    record.save(paths.record, record.MachineRecord("m", "osx-kvm", uuid=uuid, mac=mac, ssh_port=2201, created=now))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", paths.disk, "8M"], check=True)
    shell.config("[machine.m]\n")
    paths.runtime.mkdir(parents=True, exist_ok=True)
    lifecycle.start(paths, bare.argv(paths, "-vga", "std", "-vnc", f"unix:{paths.vnc}"), accel="tcg")
    yield paths
    shell.run("console", "m", "--stop")
    bare.end(paths.pidfile)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("click", "m", "5", "6"), {"from_x": 5, "from_y": 6, "button": "left", "clicks": 1}),
        (("click", "m", "5", "6", "--button", "right", "--count", "2"), {"from_x": 5, "from_y": 6, "button": "right", "clicks": 2}),
        (("type", "m", "a secret"), {"characters": 8}),
        (("key", "m", "cmd-space", "return"), {"chords": ["cmd-space", "return"]}),
        (("scroll", "m", "5", "6", "0", "-3"), {"from_x": 5, "from_y": 6, "notches_right": 0, "notches_down": -3}),
        (("drag", "m", "5", "6", "7", "8"), {"from_x": 5, "from_y": 6, "to_x": 7, "to_y": 8, "button": "left"}),
    ],
    ids=["click", "double click", "type", "key", "scroll", "drag"],
)  # fmt: skip
def test_hands_say_what_they_did(
    shell: Shell, running: MachinePaths, words: tuple[str, ...], told: dict[str, object]
) -> None:
    assert shell.json(*words) == {"name": "m", **told}
    assert shell.run(*words).stdout == ""


def test_a_pid_is_qemus_and_a_url_the_same_whoever_prints_it(shell: Shell, running: MachinePaths) -> None:
    console = shell.json("console", "m")
    seen = shell.json("status", "m")
    assert console["pid"] == locks.holder(running.pidfile)
    assert console["console_pid"] == locks.holder(running.console_lock) != console["pid"]
    assert console.keys() == seen.keys() == shell.json("list")["machines"][0].keys()
    same = ("pid", "console_pid", "url", "ws", "state", "ssh_port", "accel", "directory")
    assert {key: console[key] for key in same} == {key: seen[key] for key in same}
    assert shell.json("info", "m").keys() >= seen.keys()
    assert shell.json("disk", "list", "m")["disks"] == shell.json("info", "m")["disks"]
    assert "console_pid" in shell.json("console", "m"), "the same of one that serves already"
    os.kill(console["pid"], 0)
