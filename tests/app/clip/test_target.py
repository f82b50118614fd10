"""Which guest is meant, and that two spellings of one are one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pommel import locks
from pommel.app.argv.commandline import new_record
from pommel.app.clip.target import find_guest, usual_machine
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.machine.identity import RANDOM_BYTES
from pommel.machine.record import save
from pommel.paths import Home


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose ssh has a configuration of its own."""
    (tmp_path / "id").touch()
    config = tmp_path / "config"
    config.write_text(f"Host box\n HostName 127.0.0.9\n Port 99\n User ada\n IdentityFile {tmp_path}/id\n")
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{config}" "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), tmp_path, {"HOME": str(tmp_path)})


def make(workspace: Workspace, name: str) -> None:
    paths = workspace.paths(name)
    paths.directory.mkdir(parents=True)
    save(paths.record, new_record(workspace.spec(name), bytes(RANDOM_BYTES), created="2026-01-01T00:00:00+00:00"))


def test_two_spellings_of_one_host_are_one_guest(workspace: Workspace, tmp_path: Path) -> None:
    box = find_guest(workspace, None, "box")
    assert box.label == "ada@127.0.0.9:99" and box.machine is None
    assert find_guest(workspace, None, "ada@127.0.0.9:99").paths == box.paths
    assert find_guest(workspace, None, "bob@box").paths != box.paths
    assert box.words == ("--host", "box") and box.key_hint == "ssh-copy-id -p 99 ada@127.0.0.9"
    assert box.keys == (str(tmp_path / "id"),)
    argv = box.argv(workspace, shared=True)
    assert argv[-2:] == ["--", "box"] and "ControlPersist=no" in argv
    assert f"ControlPath={box.paths.shared}" in argv and "ControlPath=none" in box.argv(workspace)


def test_a_hosts_name_is_no_path_and_no_unit_of_another(workspace: Workspace) -> None:
    for host in ("[fe80::1%eth0]", "..", "a%b", "x" * 60):
        key = find_guest(workspace, None, f"ada@{host}").paths.key
        assert key.startswith("_") and len(key) <= 40 and not set(key) & set("/@% :"), key


def test_a_machine_by_name_or_the_only_one_or_the_one_that_runs(workspace: Workspace) -> None:
    with pytest.raises(StateError, match="sonoma has not been created yet"):
        find_guest(workspace, None)
    make(workspace, "trial")
    assert find_guest(workspace, None).label == usual_machine(workspace) == "trial"
    make(workspace, "sonoma")
    with pytest.raises(UsageError, match="which machine") as refusal:
        find_guest(workspace, None)
    assert refusal.value.hint == "give the name of one: sonoma, trial"
    with locks.hold(workspace.paths("sonoma").pidfile, busy=""):
        assert find_guest(workspace, None).key_hint == "pommel ssh sonoma --copy-id"
    with pytest.raises(UsageError, match="not both"):
        find_guest(workspace, "trial", "box")
    with pytest.raises(UsageError, match="no machine called 'trail'"):
        find_guest(workspace, "trail")


def test_a_machine_is_reached_by_its_own_key_alone(workspace: Workspace) -> None:
    make(workspace, "trial")
    argv = find_guest(workspace, "trial").argv(workspace)
    assert argv[:3] == ["ssh", "-F", "none"] and "BatchMode=yes" in argv
    assert f"IdentityFile={workspace.paths('trial').ssh_key}" in argv
