"""The process that listens on a port of this host, as far as this user can see it. Band: shell.

From /proc/net and /proc/PID/fd (proc(5)): of another user's process only the user is visible.
"""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LISTENS = {"tcp": "0A", "udp": "07"}  # TCP_LISTEN; for UDP, an unconnected socket (net/tcp_states.h)


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening process: `pid` and `program` are None if it belongs to another user."""

    user: str
    pid: int | None = None
    program: str | None = None

    def __str__(self) -> str:
        return f"{self.program} (pid {self.pid})" if self.program else f"a program of the user {self.user}"


def on_port(port: int, protocol: str = "tcp", *, root: Path = Path("/")) -> Listener | None:
    """The process that listens on `port`; None: there is none, or it is not visible."""
    for uid, inode in _sockets(port, protocol, root):
        pid = _owner(inode, root)
        return Listener(_user(uid), pid, _program(pid, root) if pid else None)
    return None


def _sockets(port: int, protocol: str, root: Path) -> Iterator[tuple[int, str]]:
    for name in (protocol, f"{protocol}6"):
        try:
            lines = (root / "proc/net" / name).read_text().splitlines()[1:]
        except OSError:  # a host without IPv6
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTENS[protocol] and int(fields[1].rpartition(":")[2], 16) == port:
                yield int(fields[7]), fields[9]


def _owner(inode: str, root: Path) -> int | None:
    wanted = f"socket:[{inode}]"
    for process in (root / "proc").glob("[0-9]*"):
        try:
            if any(str(entry.readlink()) == wanted for entry in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:  # another user's process, or it has ended
            continue
    return None


def _program(pid: int, root: Path) -> str | None:
    try:
        return (root / "proc" / str(pid) / "comm").read_text().strip() or None
    except OSError:
        return None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
