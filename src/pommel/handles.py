"""A handle of another process: waits for its end, and never signals a wrong process. Band: shared ground.

Best by a pidfd (pidfd_open(2), pidfd_send_signal(2); Linux 5.3). Some Pythons were built without these two functions:
the system calls are then made through ctypes. Where the kernel has none or a sandbox forbids them, the process is known
by its pid and its start time (proc_pid_stat(5)), and both are compared before each signal. A short moment between the
comparison and the signal remains; without pidfds it cannot be avoided.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import time
from pathlib import Path

from pommel.errors import NotPermitted

# The same numbers on every architecture but alpha (asm-generic/unistd.h, arch/*/syscalls/*.tbl).
_PIDFD_SEND_SIGNAL, _PIDFD_OPEN = 424, 434
_P_PIDFD = 3  # waitid(2); the os module of an old build has no name for it
# Errors with which a kernel or a sandbox refuses the call. pidfd_open(2) itself returns none of the first three.
_NO_SUCH_CALL = (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENODEV)
_POLL_S = 0.02


class ProcessHandle:
    """One process, until `close`. Make it by `open_handle`."""

    def __init__(self, pid: int, fd: int | None, start_ticks: int | None) -> None:
        self.pid = pid
        self._fd = fd
        self._start_ticks = start_ticks

    def ended(self, within_s: float = 0.0) -> bool:
        """Wait up to `within_s` seconds for its end; return whether it has ended. A child of ours is reaped."""
        ended = self._seen_to_end(within_s) if self._fd is None else self._polled(self._fd, within_s)
        if ended:
            # P_PIDFD if possible: if other code reaped our child, its pid may now belong to another child.
            of = (_P_PIDFD, self._fd) if self._fd is not None else (os.P_PID, self.pid)
            with contextlib.suppress(OSError):  # not our child: its parent reaps it
                os.waitid(*of, os.WEXITED | os.WNOHANG)
        return ended

    def send(self, how: signal.Signals) -> bool:
        """Send it a signal; return whether it still existed.

        Raises:
            NotPermitted: it belongs to another user.
        """
        try:
            if self._fd is not None:
                try:
                    _send_by_pidfd(self._fd, how)
                    return True
                except OSError as failure:  # EPERM is another user's process or a sandbox that forbids the call
                    if failure.errno not in _NO_SUCH_CALL:
                        raise
            if self.ended():
                return False
            os.kill(self.pid, how)
        except ProcessLookupError:
            return False
        except PermissionError as failure:
            raise NotPermitted(f"process {self.pid} belongs to another user") from failure
        return True

    def close(self) -> None:
        """Close the handle."""
        if self._fd is not None:
            os.close(self._fd)

    def __enter__(self) -> ProcessHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _polled(fd: int, within_s: float) -> bool:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def _seen_to_end(self, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while start_ticks(self.pid) == self._start_ticks:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(_POLL_S, left))
        return True


def open_handle(pid: int) -> ProcessHandle:
    """Open a handle of the process that has `pid` now. The caller must then check that it is the wanted process.

    Raises:
        ProcessLookupError: there is none, or without pidfds only a zombie.
        NotPermitted: neither a pidfd nor /proc can identify it.
        OSError: this process may open no more files.
    """
    try:
        return ProcessHandle(pid, _open_pidfd(pid), None)
    except OSError as failure:
        if failure.errno not in _NO_SUCH_CALL:
            raise
    ticks = start_ticks(pid)
    if ticks is None:
        if not Path("/proc/self/stat").exists():
            raise NotPermitted(f"process {pid} cannot be watched: there are no pidfds here, and no /proc")
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return ProcessHandle(pid, None, ticks)


def start_ticks(pid: int) -> int | None:
    """The start time of process `pid`, in clock ticks since boot (proc_pid_stat(5), field 22); None: not alive."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may contain blanks and parentheses
    return None if fields[0] in "ZX" else int(fields[19])


def _open_pidfd(pid: int) -> int:
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    return _system_call(_PIDFD_OPEN, pid, 0)  # the kernel sets close-on-exec by itself


def _send_by_pidfd(fd: int, how: signal.Signals) -> None:
    if hasattr(signal, "pidfd_send_signal"):
        signal.pidfd_send_signal(fd, how)
    else:
        _system_call(_PIDFD_SEND_SIGNAL, fd, int(how), None, 0)


def _system_call(number: int, *arguments: int | None) -> int:
    """syscall(2) of the C library that this process has loaded.

    Raises:
        OSError: with the call's errno; ENOSYS where the C library has no `syscall`.
    """
    try:
        call = ctypes.CDLL(None, use_errno=True).syscall
    except (OSError, AttributeError) as missing:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from missing
    call.restype = ctypes.c_long
    result = call(ctypes.c_long(number), *(ctypes.c_long(a) if a is not None else ctypes.c_void_p() for a in arguments))
    if result < 0:
        why = ctypes.get_errno()
        raise OSError(why, os.strerror(why))  # OSError picks its subclass by the number
    return int(result)
