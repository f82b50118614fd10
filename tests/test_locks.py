"""Locks between real processes, and between threads of one."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import locks
from pommel.errors import BusyError

HOLD = """
import sys, time
from pathlib import Path
from pommel import locks
with locks.hold(Path(sys.argv[1]), busy="busy"):
    print("held", flush=True)
    sys.stdin.read()
print("free", flush=True)
"""


@contextlib.contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        try:
            assert child.stdout is not None and child.stdout.readline() == "held\n"
            yield child
        finally:
            child.kill()


def test_no_file_and_no_lock_have_no_holder(tmp_path: Path) -> None:
    assert locks.holder(tmp_path / "absent") is None
    assert not (tmp_path / "absent").exists()
    (tmp_path / "free").touch()
    assert locks.holder(tmp_path / "free") is None


def test_the_holder_is_named_until_it_dies_however_it_dies(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "lock") as child:
        assert locks.holder(tmp_path / "lock") == child.pid
        child.kill()
        child.wait()
        assert locks.holder(tmp_path / "lock") is None


def test_asking_takes_no_right_to_write(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "lock") as child:
        (tmp_path / "lock").chmod(0o444)
        assert locks.holder(tmp_path / "lock") == child.pid


def test_our_own_lock_is_ours_and_asking_does_not_lose_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with locks.hold(tmp_path / "lock", busy="busy"):
        assert locks.holder(tmp_path / "lock") == os.getpid()
        assert locks.holder(Path("lock")) == os.getpid()
        done = subprocess.run(
            [sys.executable, "-c", HOLD, tmp_path / "lock"], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert f"busy (pid {os.getpid()})" in done.stderr and done.stdout == ""
    assert locks.holder(tmp_path / "lock") is None


def test_another_spelling_of_its_path_does_not_lose_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with locks.hold(tmp_path / "real" / "lock", busy="busy"):
        assert locks.holder(tmp_path / "link" / "lock") == os.getpid() and locks.ours(tmp_path / "link" / "lock")
        done = subprocess.run(
            [sys.executable, "-c", HOLD, tmp_path / "real" / "lock"], capture_output=True, stdin=subprocess.DEVNULL
        )
        assert b"BusyError" in done.stderr and done.stdout == b""


def test_somebody_elses_lock_is_busy_and_says_whose(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "lock") as child:
        at_work = rf"^at work \(pid {child.pid}\)$"
        with pytest.raises(BusyError, match=at_work) as busy, locks.hold(tmp_path / "lock", busy="at work"):
            raise RuntimeError("entered")
        assert busy.value.exit_code == 3
        assert locks.holder(tmp_path / "lock") == child.pid  # and is still theirs


def test_waiting_gets_it_when_it_comes_free(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "lock") as child:
        assert child.stdin is not None
        threading.Timer(0.2, child.stdin.close).start()
        began = time.monotonic()
        with locks.hold(tmp_path / "lock", busy="busy", wait_s=30):
            assert time.monotonic() - began > 0.1
            assert locks.holder(tmp_path / "lock") == os.getpid()


def test_waiting_has_an_end(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held_elsewhere(lock), pytest.raises(BusyError), locks.hold(lock, busy="busy", wait_s=0.1):
        raise RuntimeError("entered")


def test_two_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    ends: list[object] = []

    def second() -> None:
        try:
            with locks.hold(tmp_path / "lock", busy="busy"):
                ends.append("entered")
        except BusyError as busy:
            ends.append(busy.message)

    with locks.hold(tmp_path / "lock", busy="busy"):
        other = threading.Thread(target=second)
        other.start()
        other.join()
        assert locks.holder(tmp_path / "lock") == os.getpid()
    second()
    assert ends == ["busy (this process)", "entered"]


def test_a_thread_waits_for_another_of_its_process(tmp_path: Path) -> None:
    ends: list[str] = []

    def second() -> None:
        with locks.hold(tmp_path / "lock", busy="busy", wait_s=30):
            ends.append("second")

    with locks.hold(tmp_path / "lock", busy="busy"):
        other = threading.Thread(target=second)
        other.start()
        ends.append("first")
    other.join()
    assert ends == ["first", "second"]


def test_an_error_in_the_block_lets_go(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="inside"), locks.hold(tmp_path / "new" / "lock", busy="busy"):
            raise RuntimeError("inside")


@pytest.mark.parametrize("moved", [False, True])
def test_a_lock_file_that_vanished_while_we_waited(tmp_path: Path, moved: bool) -> None:
    """Its holder deleted it: a lock on the old file would exclude nobody."""
    lock = tmp_path / "lock"
    with held_elsewhere(lock) as child:
        assert child.stdin is not None

        def vanish() -> None:
            if moved:
                lock.rename(tmp_path / "doomed")
            else:
                lock.unlink()
            assert child.stdin is not None
            child.stdin.close()

        threading.Timer(0.2, vanish).start()
        with locks.hold(lock, busy="busy", wait_s=30):
            other = subprocess.run(
                [sys.executable, "-c", HOLD, lock], capture_output=True, text=True, stdin=subprocess.DEVNULL
            )
            assert f"busy (pid {os.getpid()})" in other.stderr


def test_descriptors_do_not_leak(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with held_elsewhere(tmp_path / "lock"):
        for _ in range(3):
            with contextlib.suppress(BusyError), locks.hold(tmp_path / "lock", busy="busy"):
                pass
            locks.holder(tmp_path / "lock")
    assert len(os.listdir("/proc/self/fd")) == before


class MacFlock(ctypes.Structure):
    """struct flock of macOS (sys/fcntl.h)."""

    _fields_ = (
        ("l_start", ctypes.c_int64),
        ("l_len", ctypes.c_int64),
        ("l_pid", ctypes.c_int32),
        ("l_type", ctypes.c_int16),
        ("l_whence", ctypes.c_int16),
    )


def test_the_question_and_the_answer_as_macos_lays_them_out() -> None:
    asked = MacFlock.from_buffer_copy(locks.question("darwin"))
    assert (asked.l_type, asked.l_whence, asked.l_start, asked.l_len) == (fcntl.F_WRLCK, os.SEEK_SET, 0, 0)
    asked.l_pid, asked.l_type = 4711, fcntl.F_RDLCK
    assert locks.answer(bytes(asked), "darwin") == (fcntl.F_RDLCK, 4711)
    assert len(locks.question("darwin")) == ctypes.sizeof(MacFlock)
