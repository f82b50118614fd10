"""The facts that Linux gives about the process at the other end of a socket. Band: shell.

SO_PEERCRED names the process that called connect(2), as it was then. SO_PEERPIDFD (Linux 6.5) is a handle of that
process, which a later process with the same pid cannot get; /proc gives the rest. Each answer carries its sender
(SCM_CREDENTIALS, unix(7)), which shows if another process uses the descriptor. `peer` judges the facts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import struct
import time
from pathlib import Path

from pommel.session.peer import GONE, Peer, Process, Program

_SO_PEERPIDFD = 77  # asm-generic/socket.h; not in Python's socket module
_UCRED = struct.Struct("iII")  # struct ucred: pid, uid, gid
_PROC = Path("/proc")
# Fields of /proc/PID/stat, counted from the first after the name: proc_pid_stat(5) numbers 22, and 26 to 28, 45 to 51.
_STARTED = 22 - 3
_IMAGE = (*range(26 - 3, 28 - 3 + 1), *range(45 - 3, 51 - 3 + 1))


def prepare(connection: socket.socket) -> None:
    """Make the kernel add the sender to each message; call it before the first read."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


def now() -> int:
    """The time in the unit and from the start of `Process.started`: clock ticks since boot."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def peer_uid(connection: socket.socket) -> int:
    """The uid of the other end: for a socket that we connected, the listener's."""
    return int(_credentials(connection)[1])


def collect(connection: socket.socket, seen: int | None = None) -> Peer:
    """Collect the facts about the process that connected. `seen` is `now()` right after the connection was accepted.

    A fact that cannot be found is missing from the result; if the process ends meanwhile, nothing is raised.
    """
    pid, uid, _ = _credentials(connection)
    process = _process(pid) if pid > 0 else None
    # Asked last: if the handle's process lives now, it also lived while /proc was read, so /proc was about this
    # process.
    return Peer(uid, pid, kernel_pid=_kernel_pid(connection), seen=seen, process=process)


def program_of(pid: int | str = "self") -> Program | None:
    """The file that a process runs, None if that cannot be seen."""
    try:
        link = _PROC / str(pid) / "exe"
        found = link.stat()
        return Program(str(link.readlink()), found.st_dev, found.st_ino, found.st_uid, stat.S_IMODE(found.st_mode))
    except OSError:
        return None


def receive_with_sender(connection: socket.socket, size: int) -> tuple[bytes, int | None]:
    """Receive data with the pid of its sender. Descriptors in the message are not accepted.

    Raises:
        OSError: as recvmsg(2).
    """
    data, ancillary, _, _ = connection.recvmsg(size, socket.CMSG_SPACE(_UCRED.size))
    for level, kind, body in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            return data, int(_UCRED.unpack(body[: _UCRED.size])[0])
    return data, None


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid, gid


def _kernel_pid(connection: socket.socket) -> int | None:
    try:
        handle = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except ProcessLookupError:
        return GONE
    except OSError:  # before 6.5: ENOPROTOOPT
        return None
    try:
        return _handle_pid(handle)
    finally:
        os.close(handle)


def _handle_pid(handle: int) -> int | None:
    for line in (_PROC / "self" / "fdinfo" / str(handle)).read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])
    return None


def _process(pid: int) -> Process | None:
    program = program_of(pid)
    if program is None:
        return None
    with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
        folder = _PROC / str(pid)
        # The name of a process may contain any character, also `)`: the fields begin after the last one.
        fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        image = hashlib.sha256(b" ".join(fields[index] for index in _IMAGE)).hexdigest()[:16]
        return Process(pid, int(fields[_STARTED]), _uids(folder), program, image, _cgroups(folder))
    return None


def _uids(folder: Path) -> frozenset[int]:
    lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    return frozenset(map(int, lines["Uid"].split()))


def _cgroups(folder: Path) -> tuple[str, ...]:
    """The paths in systemd's hierarchies: v2's, and v1's named one (cgroups(7))."""
    found = (line.split(":", 2) for line in (folder / "cgroup").read_text().splitlines())
    return tuple(path for number, names, path in found if (number == "0" and not names) or names == "name=systemd")
