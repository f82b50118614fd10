"""Waiting for a machine's screen and ports: by the app, and by `pommel wait`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.clips import alive, machine_behind
from clipboard.conftest import Sshd
from driver import Shell
from isolation import patient
from machine import bare, guests
from pommel import locks
from pommel.app.machine import port_wait, screen_wait
from pommel.app.workspace import Workspace
from pommel.errors import DeadlineError, MachineError, StateError, UsageError
from pommel.machine import lifecycle, pausing
from pommel.machine.record import save
from pommel.paths import MachinePaths
from pommel.screen.geometry import Rect

from .test_waiting import RECORD
from .test_waiting import tiny as tiny

# Fills the text screen anew for ever: ds = 0xb800; add to each word; again.
FLOODS = bytes.fromhex("fa b800b8 8ed8 31ff ff05 47 47 81ffa00f 72f6 ebf2")


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with bare.short_home() as home:
        save(bare.make(home, "m").record, RECORD)
        cwd = home.root.parent / "cwd"
        cwd.mkdir()
        (cwd / "pommel.toml").write_text('[machine.m]\nupstream = "own"\n')
        yield Workspace(home, cwd, {})


def run(workspace: Workspace, code: bytes) -> MachinePaths:
    paths = workspace.paths("m")
    sector = paths.directory / "sector"
    sector.write_bytes(guests.sector(code))
    words = ("-drive", f"format=raw,file={sector}", "-vga", "std", "-vnc", f"unix:{paths.vnc}")
    lifecycle.start(paths, bare.argv(paths, *words))
    return workspace.paths("m")


def test_a_counter_in_a_corner_is_rest_and_a_screen_that_floods_is_not(workspace: Workspace) -> None:
    with pytest.raises(StateError, match="m is not running"):
        screen_wait.wait_rest("m", workspace=workspace)
    paths, corner = run(workspace, guests.PAINTS), Rect(0, 0, 32, 32)
    found = screen_wait.wait_rest("m", for_s=1, timeout_s=patient(40), workspace=workspace)
    assert found.until == "rest" and found.still_s >= 1 and found.seen.startswith("its screen shows text")
    with pytest.raises(DeadlineError, match=r"did not change in [\d.]+ s; last seen: 0\.[01] % of it has changed"):
        screen_wait.wait_changed("m", timeout_s=patient(1.5), workspace=workspace)
    # Beside the counter, the firmware's caret may blink below.
    changed = screen_wait.wait_changed("m", region=corner, tolerance=0, timeout_s=patient(20), workspace=workspace)
    where = changed.changed_at
    assert where is not None and where.right <= 9 and where.bottom <= 16
    pausing.pause(paths)
    with pytest.raises(StateError, match="m is suspended") as told:
        screen_wait.wait_changed("m", workspace=workspace)
    assert told.value.hint == "pommel resume m"


def test_one_that_dies_meanwhile_is_told(workspace: Workspace) -> None:
    pid = locks.holder(run(workspace, FLOODS).pidfile)
    with pytest.raises(DeadlineError, match="was not at rest for 1 s in 3 s") as late:
        screen_wait.wait_rest("m", for_s=1, timeout_s=3, workspace=workspace)
    assert late.value.hint is not None and "--region" in late.value.hint
    threading.Timer(1.0, lambda: os.kill(pid or 0, signal.SIGKILL)).start()
    with pytest.raises(MachineError, match="m ended while Pommel waited for it"):
        screen_wait.wait_rest("m", for_s=1, workspace=workspace)


def test_the_command_says_what_it_saw_and_refuses_what_does_not_fit(tiny: Shell) -> None:
    assert "m is not running" in tiny.run("wait", "m", "--rest", status=3).stderr
    tiny.run("start", "m")
    told = tiny.json("wait", "m", "--rest", "--for", "1", "--timeout", str(patient(60)))
    assert told["name"] == "m" and told["until"] == "rest" and told["still_s"] >= 1
    failed = tiny.run("wait", "m", "--changed", "--region", "0,0,64,64", "--timeout", "1", "--json", status=1)
    assert json.loads(failed.stdout)["error"].startswith("the screen of m did not change in 1 s; last seen: ")
    assert tiny.json("wait", "m", "--screen")["seen"].startswith("its screen shows")
    for words, said in (
        ((), "say what to wait for"),
        (("--rest", "--changed"), "only one of them at a time"),
        (("--rest", "--port", "22"), "only one of them at a time"),
        (("--ssh", "--region", "0,0,1,1"), "--region goes with --rest or --changed"),
        (("--changed", "--for", "2"), "--for goes with --rest"),
        (("--rest", "--region", "0,0"), "is not a part of a screen"),
        (("--rest", "--display", "2"), "so there is no display 2"),
    ):
        done = tiny.run("wait", "m", *words, status=None)
        assert done.returncode in (2, 3) and said in done.stderr, words


# --- ports


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sshd]:
    """A guest with all programs that this host has."""
    folder = tmp_path / "ssh"
    folder.mkdir()
    box = Sshd(folder, {"PATH": os.environ["PATH"]})
    yield box
    box.close()


def test_a_port_of_a_guest_is_looked_at_from_inside(box: Sshd, tmp_path: Path) -> None:
    workspace = machine_behind(box, tmp_path / "w", None)
    with pytest.raises(UsageError, match="70000 is not a TCP port"):
        port_wait.wait_port("trial", 70000, workspace=workspace)
    with pytest.raises(StateError, match="is not running"):
        port_wait.wait_port("trial", 80, workspace=workspace)
    with alive(workspace), socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        limit_s = patient(5)  # to log in takes part of it
        with pytest.raises(DeadlineError, match=f"nothing listened on port {port} of trial in {limit_s:g} s"):
            port_wait.wait_port("trial", port, timeout_s=limit_s, workspace=workspace)
        threading.Timer(1.0, server.listen).start()
        found = port_wait.wait_port("trial", port, timeout_s=patient(30), workspace=workspace)
    assert found.until == f"port {port}" and found.known


def test_a_guest_without_bash_and_nc_is_told_from_one_that_is_late(posix_guest: Sshd, tmp_path: Path) -> None:
    workspace = machine_behind(posix_guest, tmp_path / "w", None)
    with alive(workspace), pytest.raises(StateError, match="has neither bash nor nc"):
        port_wait.wait_port("trial", 80, workspace=workspace)


def test_a_guest_with_an_address_of_its_own_is_connected_to(box: Sshd, tmp_path: Path) -> None:
    workspace = machine_behind(box, tmp_path / "w", None)
    (workspace.cwd / "pommel.toml").write_text(f'[machine.trial]\nssh_host = "127.0.0.1:{box.port}"\n')
    workspace = Workspace(workspace.home, workspace.cwd, workspace.env)
    box.stop()  # it is not needed
    with alive(workspace), contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        found = port_wait.wait_port("trial", server.getsockname()[1], timeout_s=patient(10), workspace=workspace)
    assert found.known
