"""Handles on processes: by pidfds, by their system calls alone, and by pid and start time where there are none."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import handles, process
from pommel.errors import NotPermitted
from pommel.handles import open_handle, start_ticks

TESTS = Path(__file__).parent
ROOMS = [TESTS / "test_handles.py", TESTS / "machine" / "test_pinned.py"]
NUMBERS = {"pidfd_open": 434, "pidfd_send_signal": 424}
# Forbids system calls as a container's filter does (seccomp(2), the same program as overlay/seccomp.py), then runs tests.
IN_A_SANDBOX = """
import ctypes, os, sys
rules = bytes.fromhex(sys.argv[1])
class Prog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(Prog(len(rules) // 8, rules)), 0, 0):
    sys.exit(f"no filter: {os.strerror(ctypes.get_errno())}")
try:
    os.pidfd_open(os.getpid())
except OSError as refusal:
    print("refused:", refusal.errno, flush=True)
os.execv(sys.executable, [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *sys.argv[2:]])
"""


@pytest.fixture
def child(tmp_path: Path, pidfds: str) -> Iterator[process.Detached]:
    child = process.spawn_detached(["sleep", "60"], tmp_path / "log")
    yield child
    process.end_group(child.pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child.pid, 0)
    child.release()


def test_it_lives_and_ends_by_a_signal(child: process.Detached) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with open_handle(child.pid) as handle:
        assert handle.pid == child.pid
        began = time.monotonic()
        assert not handle.ended() and not handle.ended(0.05)
        assert time.monotonic() - began >= 0.05
        assert handle.send(signal.SIGTERM)
        assert handle.ended(20)
        assert not Path(f"/proc/{child.pid}").exists(), "a child is reaped"
        assert not handle.send(signal.SIGKILL), "one that is gone is fine"
    assert len(os.listdir("/proc/self/fd")) == before


def test_one_that_its_parent_has_not_reaped_has_ended(pidfds: str) -> None:
    with process.watched(["sleep", "60"], stdin=0) as watched, open_handle(watched.pid) as handle:
        os.kill(watched.pid, signal.SIGKILL)
        os.waitid(os.P_PID, watched.pid, os.WEXITED | os.WNOWAIT)
        assert start_ticks(watched.pid) is None, "a zombie"
        assert not handle.send(signal.SIGTERM) or handle.ended()
        assert handle.ended()


def test_nobody_has_the_pid(pidfds: str) -> None:
    gone = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(gone, 0)
    with pytest.raises(ProcessLookupError):
        open_handle(gone)


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_another_users_is_refused_by_name(child: process.Detached, tmp_path: Path) -> None:
    with open_handle(child.pid) as handle:
        os.setresuid(54321, 54321, 0)
        try:
            with pytest.raises(NotPermitted, match=f"process {child.pid} belongs to another user"):
                handle.send(signal.SIGTERM)
        finally:
            os.setresuid(0, 0, 0)
        assert not handle.ended()


@pytest.mark.parametrize("pidfds", ["refused"], indirect=True)
def test_a_stranger_with_its_pid_is_never_met(child: process.Detached, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the pid was given away again: another start time."""
    with open_handle(child.pid) as handle:
        real = start_ticks(child.pid)
        assert real is not None
        monkeypatch.setattr(handles, "start_ticks", lambda _: real + 1)
        monkeypatch.setattr(handles.os, "waitid", lambda *_: None)
        assert handle.ended()
        assert not handle.send(signal.SIGKILL)
    monkeypatch.undo()
    assert start_ticks(child.pid) == real, "it lives"


@pytest.mark.parametrize("pidfds", ["refused"], indirect=True)
def test_without_proc_either_it_is_said(child: process.Detached, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "start_ticks", lambda _: None)
    monkeypatch.setattr(handles, "Path", lambda _: Path("/nowhere/at/all"))
    with pytest.raises(NotPermitted, match=r"no pidfds here, and no /proc"):
        open_handle(child.pid)


@pytest.mark.parametrize("number", [1, 38], ids=["EPERM", "ENOSYS"])
@pytest.mark.parametrize("calls", [["pidfd_open", "pidfd_send_signal"], ["pidfd_send_signal"]], ids=" ".join)
def test_in_a_sandbox_that_forbids_them(calls: list[str], number: int) -> None:
    """The tests of this file and of who holds a lock, under a kernel that really says no."""
    if os.environ.get("POMMEL_TEST_IN_A_SANDBOX") or platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("one filter is enough")
    load, equal, give = 0x20, 0x15, 0x06
    lines = [(load, 0, 0, 0)]
    for call in calls:
        lines += [(equal, 0, 1, NUMBERS[call]), (give, 0, 0, 0x00050000 | number)]
    lines.append((give, 0, 0, 0x7FFF0000))
    rules = b"".join(struct.pack("=HBBI", *line) for line in lines)
    done = process.run(
        [sys.executable, "-c", IN_A_SANDBOX, rules.hex(), *ROOMS, "-k", "not removed and not in_a_sandbox"],
        env={**os.environ, "POMMEL_TEST_IN_A_SANDBOX": "1"},
        cwd=TESTS.parent,
        check=False,
        timeout_s=240,
    )
    assert done.returncode == 0, done.output
    assert done.text.startswith(f"refused: {number}") == ("pidfd_open" in calls), done.output
