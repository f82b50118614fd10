"""Waiting for real QEMUs with guests of a few bytes, by the app and by the command."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.clips import alive, machine_behind
from clipboard.conftest import Sshd
from driver import Shell
from free_ports import free_port
from isolation import patient
from machine import bare, guests
from pommel import locks
from pommel.app.guest import answer as guest_answer
from pommel.app.guest import shell as guest
from pommel.app.machine import desktop_signs, waiting
from pommel.app.workspace import Workspace
from pommel.errors import DeadlineError, MachineError, StateError, UsageError
from pommel.machine import lifecycle, pausing
from pommel.machine.record import MachineRecord, save
from pommel.paths import MachinePaths
from pommel.progress import Progress
from pommel.ssh import SshTarget
from waits import wait_until

# VGA's mode 13h, and a byte for each pixel, in all 256 colours; then it sleeps. SeaBIOS has written its text before.
SHOWS = bytes.fromhex("fa b81300 cd10 b800a0 8ec0 31ff 31c9 26893d 47 e2fa f4 ebfd")
LATER = bytes.fromhex("fb b486 b92d00 31d2 cd15") + SHOWS  # int 15h, AH=86h: three seconds of SeaBIOS's text before
RECORD = MachineRecord("m", "own", "00000000-0000-4000-8000-000000000001", "52:54:00:00:00:01", 1, "2026-01-01T00:00:00+00:00")  # fmt: skip
TABLET = ("-device", "qemu-xhci", "-device", "usb-tablet")


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with bare.short_home() as home:
        paths = bare.make(home, "m")
        save(paths.record, RECORD)
        cwd = home.root.parent / "cwd"
        cwd.mkdir()
        (cwd / "pommel.toml").write_text('[machine.m]\nupstream = "own"\n')
        yield Workspace(home, cwd, {})


def run(workspace: Workspace, *more: str, code: bytes = SHOWS) -> MachinePaths:
    paths = workspace.paths("m")
    sector = paths.directory / "sector"
    sector.write_bytes(guests.sector(code))
    lifecycle.start(paths, bare.argv(paths, "-drive", f"format=raw,file={sector}", *more))
    return workspace.paths("m")


def test_the_screen_is_there_with_its_first_picture(workspace: Workspace) -> None:
    run(workspace, "-vga", "std")
    found = waiting.wait("m", "screen", workspace=workspace)
    assert found.known and not found.short and found.seen.startswith("its screen shows")


def test_a_screen_that_stays_blank_is_an_error_in_time_and_one_without_display_too(workspace: Workspace) -> None:
    with pytest.raises(StateError, match="m is not running"):
        waiting.wait("m", "screen", workspace=workspace)
    run(workspace)
    with pytest.raises(
        DeadlineError, match=r"the screen of m did not come in 1 s; last seen: its screen cannot be seen"
    ):
        waiting.wait("m", "screen", timeout_s=1, workspace=workspace)
    with pytest.raises(UsageError, match="'picker'"):
        waiting.wait("m", "picker", workspace=workspace)


def test_a_desktop_is_inferred_from_a_picture_that_came_and_stays(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desktop_signs, "_UNKNOWN_STILL_S", 1.5)
    run(workspace, "-vga", "std", code=LATER)
    told: list[Progress] = []
    found = waiting.wait("m", "desktop", timeout_s=60, workspace=workspace, report=told.append)
    assert (found.known, found.short) == (False, False)
    assert "a picture that does not change" in found.seen
    assert "(inferred: its guest does not report it)" in told[-1].text


def test_where_no_system_reads_the_pointer_it_is_no_desktop(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desktop_signs, "_UNKNOWN_STILL_S", 1.5)
    run(workspace, "-vga", "std", *TABLET)
    with pytest.raises(
        DeadlineError, match=r"the desktop of m did not come in 6 s; last seen: its screen shows a picture"
    ):
        waiting.wait("m", "desktop", timeout_s=6, workspace=workspace)
    found = waiting.try_wait("m", "desktop", timeout_s=20, workspace=workspace)
    assert found is not None and found.short and "may be a boot picker" in found.seen


def test_one_that_dies_meanwhile_is_told_with_its_reason_and_log(workspace: Workspace) -> None:
    paths = run(workspace)
    with paths.log.open("a") as log:
        log.write("qemu: the roof fell in\n")
    pid = locks.holder(paths.pidfile)
    threading.Timer(1.0, lambda: os.kill(pid or 0, signal.SIGKILL)).start()
    with pytest.raises(MachineError, match=r"m ended while Pommel waited for it: QEMU was killed or crashed") as told:
        waiting.wait("m", "desktop", workspace=workspace)
    assert "the roof fell in" in told.value.message and told.value.hint == "pommel log m"
    with pytest.raises(StateError, match="is not running"):
        waiting.for_guest(workspace, "m")


def says(text: str) -> bytes:
    """A boot sector that writes `text` to the first serial port, byte by byte, and sleeps."""
    return bytes.fromhex("fa 31c0 8ed8 baf803 be167c ac 84c0 7403 ee ebf8 f4 ebfd") + text.encode() + b"\0"


def test_a_kernel_that_cannot_go_on_ends_the_wait(workspace: Workspace) -> None:
    serial = workspace.paths("m").serial_log
    serial.write_text("[    1.0] Kernel panic - not syncing: of a run that is long over\n")
    port = ("-chardev", f"file,id=port,path={serial},append=on", "-serial", "chardev:port")
    run(workspace, *port, code=says("[    2.0] Kernel panic - not syncing: no\x1b[2J init found\n"))
    with pytest.raises(
        MachineError, match=r"the desktop of m will not come.*: Kernel panic - not syncing: no init"
    ) as told:
        waiting.wait("m", "desktop", workspace=workspace)
    assert told.value.hint is not None and "pommel restart m --force" in told.value.hint
    with pytest.raises(MachineError, match="no init"):  # it was said before this wait began
        waiting.wait("m", "desktop", workspace=workspace)


def test_one_that_is_suspended_is_not_waited_for(workspace: Workspace) -> None:
    paths = run(workspace)
    pausing.pause(paths)
    for until in ("ssh", "desktop"):
        with pytest.raises(StateError, match="m is suspended, so") as told:
            waiting.wait("m", until, workspace=workspace)
        assert told.value.hint == "pommel resume m"


def test_a_qemu_that_does_not_answer_holds_up_no_wait(workspace: Workspace) -> None:
    pid = locks.holder(run(workspace).pidfile)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(DeadlineError, match="the screen of m did not come in 2 s; last seen: its screen cannot be"):
            waiting.wait("m", "screen", timeout_s=2, workspace=workspace)
        assert time.monotonic() - began < 2 + patient(3)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_whoever_is_told_may_call_it_off(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    class LeftOff(KeyboardInterrupt):
        pass

    def stop(event: Progress) -> None:
        if event.done:
            raise LeftOff

    run(workspace)
    began = time.monotonic()
    with pytest.raises(LeftOff):
        waiting.wait("m", "desktop", workspace=workspace, report=stop)
    assert time.monotonic() - began < 5
    assert capfd.readouterr().err == ""


def test_a_machine_without_a_network_never_answers(workspace: Workspace) -> None:
    (workspace.cwd / "pommel.toml").write_text('[machine.m]\nupstream = "own"\nnetwork = "none"\n')
    run(workspace)
    with pytest.raises(StateError, match="m has no network"):
        waiting.wait("m", "ssh", workspace=workspace)
    with pytest.raises(StateError, match="m has no network"):
        waiting.for_guest(workspace, "m")


# --- a guest behind a real sshd


def test_a_guest_that_comes_up_is_waited_for_with_one_line(
    posix_guest: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_QUIET_S", 1.5)
    workspace = machine_behind(posix_guest, tmp_path / "w", None)
    posix_guest.stop()
    told: list[Progress] = []
    with alive(workspace):
        threading.Timer(3, posix_guest.start).start()
        began = time.monotonic()
        waiting.for_guest(workspace, "trial", timeout_s=20, report=told.append)
        assert time.monotonic() - began >= 3
        assert {event.step for event in told} == {"waiting for trial to answer SSH"} and told[-1].finished
        told.clear()
        waiting.for_guest(workspace, "trial", timeout_s=20, report=told.append)
        found = waiting.wait("trial", "ssh", workspace=workspace)
    assert told == [], "it is there, and there is nothing to say"
    assert found.known and found.seen == "it answers SSH"


def test_a_guest_that_has_let_us_in_is_not_logged_into_again_first(
    posix_guest: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = machine_behind(posix_guest, tmp_path / "w", None)
    asked: list[str] = []
    real = guest_answer.Asking.ask

    async def ask(self: guest_answer.Asking, target: SshTarget, script: str) -> guest_answer.GuestAnswer:
        asked.append(script)
        return await real(self, target, script)

    monkeypatch.setattr(guest_answer.Asking, "ask", ask)
    with alive(workspace):
        workspace.paths("trial").make_runtime()
        waiting.for_guest(workspace, "trial")
        waiting.for_guest(workspace, "trial")
        assert len(asked) == 1
    with alive(workspace):
        waiting.for_guest(workspace, "trial")
    assert len(asked) == 2, "another QEMU, another guest"


def test_a_connection_that_is_shared_needs_no_wait(posix_guest: Sshd, tmp_path: Path) -> None:
    workspace = machine_behind(posix_guest, tmp_path / "w", None)
    there = guest.shared_socket(workspace, "trial")
    there.parent.mkdir(parents=True)
    assert not guest.is_connected(workspace, "trial")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(there))
        assert not guest.is_connected(workspace, "trial"), "left behind by one that was killed"
        listening.listen()
        assert guest.is_connected(workspace, "trial")


# --- by the command


@contextlib.contextmanager
def small_machine() -> Iterator[Shell]:
    """A made machine of an upstream of one's own, whose guest shows a picture at once."""
    shell = Shell()
    own, folder = shell.cwd / "own", shell.machine("m")
    own.mkdir()
    folder.mkdir(parents=True)
    script = own / "OpenCore-Boot.sh"
    drive = "id=MacHDD,if=ide,format=qcow2,file=mac_hdd_ng.img"
    script.write_text(f"#!/bin/sh\nexec qemu-system-x86_64 -machine pc -m 16 -vga std -drive {drive}\n")
    script.chmod(0o755)
    shell.config('[machine.m]\nupstream = "own"\naccel = "tcg"\n')
    save(folder / "machine.json", MachineRecord("m", str(own), RECORD.uuid, RECORD.mac, free_port(), RECORD.created))
    guests.make_disk(folder / "mac_hdd_ng.img", SHOWS)
    try:
        yield shell
    finally:
        shell.close()


@pytest.fixture
def tiny() -> Iterator[Shell]:
    with small_machine() as shell:
        yield shell


def test_start_waits_and_prints_one_document(tiny: Shell) -> None:
    done = tiny.run("start", "m", "--wait", "screen", "--json")
    told = json.loads(done.stdout)
    assert told["state"] == "running" and told["waited"]["until"] == "screen" and told["waited"]["known"]
    assert done.stderr.count("waiting for the screen of m") == 1
    failed = tiny.run("restart", "m", "--wait", "ssh", "--wait-timeout", "4", "--json", "--force", status=1)
    assert json.loads(failed.stdout)["error"].startswith("SSH of m did not come in 4 s; last seen: its screen shows")
    assert failed.stderr.count("waiting for") == 1
    assert tiny.json("status", "m")["state"] == "running", "the wait has failed, not the machine"


def test_ssh_and_its_kin_wait_for_the_guest_unless_told_not_to(tiny: Shell) -> None:
    assert "m is not running" in tiny.run("ssh", "m", status=3).stderr
    tiny.run("start", "m")
    for words in (("ssh", "--wait-timeout", "4", "m", "true"), ("scp", "--wait-timeout", "4", "m:x", ".")):
        done = tiny.run(*words, status=255)
        assert done.stderr.count("waiting for m to answer SSH ...\n") == 1
        assert "error: SSH of m did not come in 4 s; last seen: its screen shows a picture" in done.stderr
    assert "did not come in 4 s" in tiny.run("guest", "status", "--wait-timeout", "4", "m", status=1).stderr
    done = tiny.run("ssh", "m", "--no-wait", "--", "true", status=255)
    assert "waiting for" not in done.stderr and "Connection" in done.stderr


@pytest.mark.parametrize("words", [("ssh", "m"), ("start", "m", "--wait", "desktop"), ("up", "m", "--headless")])
def test_ctrl_c_ends_the_wait_cleanly_and_the_machine_goes_on(tiny: Shell, words: tuple[str, ...]) -> None:
    if words[0] == "ssh":
        tiny.run("start", "m")
    with on_a_terminal(tiny, *words) as (child, ours):
        read_until(ours, r"· waiting for .* of \d+ s  its screen shows a picture")
        child.send_signal(signal.SIGINT)
        seen = read_until(ours, "interrupted")
        assert child.wait(10) == 130
    assert "Traceback" not in seen and ("m keeps running." in seen or words[0] == "ssh")
    assert tiny.json("status", "m")["state"] == "running"
    others = [pid for pid in tiny.processes() if b"qemu-system" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert others == [], "no orphan"


@contextlib.contextmanager
def on_a_terminal(shell: Shell, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    ours, theirs = pty.openpty()
    child = shell.popen(*words, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        yield child, ours
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def read_until(fd: int, pattern: str, timeout_s: float = 40.0) -> str:
    seen, deadline = "", time.monotonic() + timeout_s
    while not re.search(pattern, seen):
        assert time.monotonic() < deadline, seen[-500:]
        try:
            seen += os.read(fd, 4096).decode(errors="replace")
        except OSError:
            raise AssertionError(f"it ended:\n{seen}") from None
    return seen


def test_a_watch_waits_for_each_start(tiny: Shell) -> None:
    log = tiny.root / "watch"
    with log.open("wb") as out:
        child = tiny.popen(
            "start", "m", "--watch", "--wait", "screen", stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    wait_until(lambda: b"m is running" in log.read_bytes(), 30)
    os.kill(tiny.json("status", "m")["pid"], signal.SIGKILL)
    wait_until(lambda: log.read_bytes().count(b"waiting for the screen of m") == 2, 30)
    tiny.run("stop", "m", "--force")
    assert child.wait(20) == 0, log.read_text()


def test_the_words_are_completed(tiny: Shell) -> None:
    for words in ("pommel start m --wait ", "pommel up m --wait ", "pommel restart m --wait "):
        env = {**tiny.env, "_POMMEL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "4"}
        done = subprocess.run(tiny.command, env=env, cwd=tiny.cwd, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["plain,screen", "plain,ssh", "plain,desktop"]


def test_a_dry_run_names_the_wait(tiny: Shell) -> None:
    steps = tiny.json("up", "m", "--dry-run", "--wait", "ssh")["steps"]
    assert "wait until m has SSH" in [step["what"] for step in steps]
