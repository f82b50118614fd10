"""Gives one connection of a guest its own smbd, in a sandbox. Band: shell. Run by QEMU, never imported.

`python -I -S share_end.py FILE`: QEMU starts it for each connection, which is its standard input and output. FILE has
the shares; it is read at each connection, so that a removed share is closed to the next connection.
Nothing of Pommel is imported: it must start quickly, and continue to run while Pommel is updated. It becomes the
sandbox: no process of its own stays.
"""

import json
import os
import resource
import socket
import sys
from pathlib import Path

MARK = "SHARES_OF"  # in the environment of all processes started here, with FILE: so they can be found and ended
_MOST = 32  # connections at a time: a guest must not be able to start an unlimited number of processes on this host
_LOG_BYTES = 64 << 10


def main(file: str) -> int:
    """Become the smbd of this connection. Exit 1: nothing is shared, or it fails; the log beside FILE says why."""
    log = os.open(Path(file).with_name("shares.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if os.fstat(log).st_size > _LOG_BYTES:
        os.ftruncate(log, 0)
    os.dup2(log, 2)  # QEMU has connected it to the guest too
    try:
        plan = json.loads(Path(file).read_text(encoding="utf-8"))
        if not plan["shares"]:
            return 1
        if not _is_ours(socket.socket(fileno=os.dup(0))):
            raise OSError("the other end of the connection is not this user's")
        if _others(file) >= _MOST:
            raise OSError(f"{_MOST} connections are open already")
        words = [*plan["sandbox"], *_files(plan["files"]), *_folders(plan["shares"]), "--", *plan["smbd"]]
        _bound()
        os.execve(words[0], words, {MARK: file})  # noqa: S606
    except (OSError, ValueError, KeyError, TypeError) as why:
        os.write(2, f"shares: {why}\n".encode())
    return 1


def _is_ours(connection: socket.socket) -> bool:
    """Whether this user has the other end. QEMU makes both through a port on 127.0.0.1, which is open for that time."""
    if connection.family != socket.AF_INET:
        return True
    here, there = (f"{_hex(host)}:{port:04X}" for host, port in (connection.getsockname(), connection.getpeername()))
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = row.split()
        if words[1] == there and words[2] == here:
            return int(words[7]) == os.getuid()
    return False


def _hex(host: str) -> str:
    """An address as in /proc/net/tcp: a number in the processor's byte order."""
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}"


def _others(file: str) -> int:
    """The number of sandboxes: one process of each is outside of it, in our own PID namespace."""
    mark, here = f"{MARK}={file}".encode(), Path("/proc/self/ns/pid").readlink()
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found += (process / "ns/pid").readlink() == here
        except OSError:  # it ended, or belongs to another user
            continue
    return found


def _files(files: dict[str, str]) -> list[str]:
    """The options for files that are on no disk of this host."""
    words = []
    for path, text in files.items():
        fd = os.memfd_create("share")
        os.write(fd, text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        os.set_inheritable(fd, True)
        words += ["--ro-bind-data", str(fd), path]
    return words


def _folders(shares: list[list[str]]) -> list[str]:
    """The options for the folders. A folder that is gone, or is a link by now, is left out; the others are shared."""
    words = []
    for how, folder, seen in shares:
        if Path(folder).is_dir() and os.path.realpath(folder) == folder:
            words += [how, folder, seen]
        else:
            os.write(2, f"shares: {folder} is not there\n".encode())
    return words


def _bound() -> None:
    for what, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 8192), (resource.RLIMIT_AS, 4 << 30)):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
