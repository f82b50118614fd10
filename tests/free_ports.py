"""A TCP port for a server that is started by its number. No tests here.

A port that the kernel hands out and that is given back at once may be handed out again before the server has it: to
another test, or to a connection of this one. So these lie below the kernel's own range (ip(7), ip_local_port_range
begins at 32768), and each of pytest-xdist's workers has a part of its own.
"""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _EACH, _WORKERS = 14_000, 1_000, 8
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_numbers = itertools.cycle(range(_FIRST + _worker * _EACH, _FIRST + (_worker + 1) * _EACH))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, for TCP and for UDP; each call returns another one."""
    return next(port for port in itertools.islice(_numbers, _EACH) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that ended is no obstacle
        try:
            tcp.bind(("", port))
            udp.bind(("", port))
        except OSError:
            return False
    return True
