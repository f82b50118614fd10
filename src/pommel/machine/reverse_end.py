"""Forwards one connection of a guest to a service of this host. Band: shell. Run by QEMU, never imported.

`python -I -S reverse_end.py FILE GUEST_PORT`: QEMU starts it for each connection, which is its standard input and
output. FILE has the target of the port; it is read at each connection, so that a removed forward is closed at once.
Nothing of Pommel is imported: it must start quickly, and continue to run while Pommel is updated.
"""

import json
import os
import select
import socket
import sys
from pathlib import Path

_CONNECT_S = 10.0
_CHUNK = 64 << 10


def main(file: str, port: str) -> int:
    """Carry bytes both ways until both sides have ended. Exit 1: the port has no target, or no service answers."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # QEMU has connected it to the guest too
    try:
        host, target = json.loads(Path(file).read_text(encoding="utf-8"))[port]
        service = _connected(host, target)
    except (OSError, ValueError, KeyError, TypeError):
        return 1
    guest = socket.socket(fileno=os.dup(0))
    for each in (0, 1):
        os.dup2(quiet, each)  # else these descriptors would keep the connection open
    _carry(guest, service)
    return 0


def _connected(host: str, port: int) -> socket.socket:
    if host.startswith("/"):
        service = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        service.settimeout(_CONNECT_S)
        service.connect(host)
    else:
        service = socket.create_connection((host, port), timeout=_CONNECT_S)
    service.settimeout(None)
    return service


def _carry(one: socket.socket, other: socket.socket) -> None:
    """Copy from each to the other; the end of one side is passed on, and the other side may continue."""
    to = {one: other, other: one}
    while to:
        for source in select.select(list(to), [], [])[0]:
            try:
                data = source.recv(_CHUNK)
                if data:
                    to[source].sendall(data)
                    continue
                to.pop(source).shutdown(socket.SHUT_WR)
            except OSError:  # one side is gone, so the connection is too
                return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
