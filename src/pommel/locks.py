"""Locks on files: they show which process is alive, and exclude others from work. Band: shared ground.

Liveness is a lock, not a pid file: the kernel drops an fcntl lock when its holder dies, however it dies,
and F_GETLK names the holder. QEMU holds one on its `-pidfile` (util/oslib-posix.c, qemu_write_pidfile);
Pommel's own long-lived processes hold theirs through `hold`.

fcntl locks belong to a process and vanish when it closes *any* descriptor of the file. So `holder` answers from
memory for a lock of our own, and never opens its file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from pommel import private
from pommel.errors import BusyError

# struct flock of 64-bit Linux: short l_type, short l_whence, off_t l_start, off_t l_len, pid_t l_pid
_LINUX = struct.Struct("hhqqi4x")
# struct flock of macOS: off_t l_start, off_t l_len, pid_t l_pid, short l_type, short l_whence
_MACOS = struct.Struct("qqihh")
_POLL_S = 0.05
_WHOLE_FILE = (os.SEEK_SET, 0, 0)  # l_whence, l_start, l_len
_held: set[Path] = set()
# The kernel's locks belong to the whole process; these two exclude our own threads from each other.
_claimed: set[Path] = set()
_guard = threading.Lock()
# The locks of the present thread or task, and of the tasks that it starts meanwhile.
_ours: ContextVar[frozenset[Path]] = ContextVar("_ours", default=frozenset())


def holder(path: Path) -> int | None:
    """The pid that holds an fcntl write lock on `path`, or None when nobody does or there is no file.

    A holder in another pid namespace is reported by the kernel as pid 0 or -1; it still counts as alive.
    """
    if _key(path) in _held:
        return os.getpid()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # enough for F_GETLK, although fcntl(2) demands more for F_WRLCK
    except FileNotFoundError:
        return None
    try:
        kind, pid = answer(fcntl.fcntl(fd, fcntl.F_GETLK, question()))
    finally:
        os.close(fd)
    return None if kind == fcntl.F_UNLCK else pid


def whom(pid: int | None) -> str:
    """A process for messages, by the pid from `holder`: a process of another pid namespace has no pid here."""
    return f"pid {pid}" if pid is not None and pid > 0 else "a process of another container"


def ours(path: Path) -> bool:
    """Whether the caller is inside a `hold` of `path`. Another thread's hold of it is not the caller's."""
    return _key(path) in _ours.get()


def question(system: str = sys.platform) -> bytes:
    """The struct flock that asks for the holder that prevents a write lock on a whole file (fcntl.h of each system)."""
    whence, start, length = _WHOLE_FILE
    if system == "darwin":
        return _MACOS.pack(start, length, 0, fcntl.F_WRLCK, whence)
    return _LINUX.pack(fcntl.F_WRLCK, whence, start, length, 0)


def answer(flock: bytes, system: str = sys.platform) -> tuple[int, int]:
    """The type of lock and the pid in a struct flock."""
    if system == "darwin":
        _, _, pid, kind, _ = _MACOS.unpack(flock)
    else:
        kind, _, _, _, pid = _LINUX.unpack(flock)
    return int(kind), int(pid)


@contextlib.contextmanager
def hold(path: Path, *, busy: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold an fcntl write lock on `path` (made if missing) for the time of the block.

    Raises:
        BusyError: somebody else holds it after `wait_s` seconds. The message is `busy` and the holder's pid.
    """
    path = _key(path)
    deadline = time.monotonic() + wait_s
    _claim(path, busy, deadline)
    try:
        with _locked(path, busy, deadline):
            _ours.set(_ours.get() | {path})
            try:
                yield
            finally:
                _ours.set(_ours.get() - {path})
    finally:
        _claimed.discard(path)


def _claim(path: Path, busy: str, deadline: float) -> None:
    """Exclude our other threads from `path`, after none of them uses it."""
    while True:
        with _guard:
            if path not in _claimed:
                _claimed.add(path)
                return
        if time.monotonic() >= deadline or ours(path):  # we hold it ourselves: waiting would never end
            raise BusyError(f"{busy} (this process)")
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _locked(path: Path, busy: str, deadline: float) -> Iterator[None]:
    fd = _opened(path)
    try:
        _take(fd, path, busy, deadline)
        while not _is_at(fd, path):
            # While we waited, the holder deleted or moved the file (`delete` does): our lock is on a file without a
            # name.
            os.close(fd)
            fd = _opened(path)
            _take(fd, path, busy, deadline)
        _held.add(path)
        yield
    finally:
        _held.discard(path)
        os.close(fd)


def _key(path: Path) -> Path:
    """Identify the file by its inode: opening and closing it under another path would drop its lock."""
    return Path(os.path.realpath(path))


def _opened(path: Path) -> int:
    private.make_folder(path.parent)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _take(fd: int, path: Path, busy: str, deadline: float) -> None:
    while True:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as refusal:
            if refusal.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            if time.monotonic() >= deadline:
                # Not holder(): a second descriptor of the file, closed, would be harmless here, but only
                # because we hold nothing yet.
                raise BusyError(f"{busy} ({whom(holder(path))})") from None
            time.sleep(_POLL_S)
        else:
            return
