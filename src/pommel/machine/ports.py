"""Allots host ports to machines, each to one machine only. Band: shell.

By default only on loopback: nothing of a machine is open to the network unless the user writes an address. A port
belongs to a machine once its record names it, whether it runs or not; the search and the record are one step under
a lock.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from pommel import locks, loopback
from pommel.errors import MachineError, NotPermitted, PommelError
from pommel.machine import record
from pommel.paths import Home
from pommel.progress import Report, ignore, note

FIRST_SSH_PORT = 2222
_LAST = 65535
_LOWEST_FREE = 1024
_LOCK_WAIT_S = 10.0


def allot_port(
    home: Home,
    name: str,
    *,
    wanted: int | None,
    keep: Callable[[int], None],
    claimed: Mapping[int, str] = MappingProxyType({}),
    report: Report = ignore,
) -> int:
    """Allot machine `name` the port `wanted` (None: 2222) or else the next free one, and call `keep` with it.

    `claimed` are further ports of other machines, each with its machine. `keep` writes the port to the machine's
    record. It runs under the lock, so that two processes never allot the same port.

    Raises:
        NotPermitted: `wanted` is a port for root only.
        MachineError: no port is free.
        BusyError: the lock is not free.
    """
    first = wanted if wanted is not None else FIRST_SSH_PORT
    with locks.hold(home.root / "ports.lock", busy="another pommel is choosing ports", wait_s=_LOCK_WAIT_S):
        taken = {**claimed, **_recorded(home, but=name)}
        port = next_free(first, taken)
        keep(port)
    if wanted is not None and port != wanted:
        owner = taken.get(wanted)
        why = f"belongs to the machine {owner}" if owner else "is in use on this host"
        note(report, f"port {wanted} {why}: {name} gets {port}")
    return port


def next_free(first: int, taken: Collection[int] = ()) -> int:
    """The first port from `first` up that is not `taken` and can be listened on; then one below `first`.

    Raises:
        NotPermitted: `first` is a port for root only.
        MachineError: no port is free.
    """
    for port in _candidates(first):
        if port not in taken and is_free(port):
            return port
    raise MachineError("there is no free port on 127.0.0.1", hint="to see the ports in use: ss -ltn")


def is_free(port: int, host: str = "127.0.0.1", protocol: str = "tcp") -> bool:
    """Whether `host`:`port` can be listened on; it is tested by listening as QEMU will.

    Raises:
        NotPermitted: only root may listen on it, or this host has no 127.0.0.1.
        UsageError: `host` is not an address of this host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        trial = socket.socket(family, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    except OSError as refusal:  # a kernel without IPv6
        raise loopback.missing(refusal, host) or refusal from refusal
    with contextlib.closing(trial):
        if protocol == "tcp":
            # As QEMU's user network does, so that the rest of a closed connection (TIME_WAIT) does not count as in use.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            if protocol == "tcp":
                trial.listen(1)
        except OSError as refusal:
            if refusal.errno == errno.EADDRINUSE:
                return False
            if refusal.errno == errno.EACCES:
                raise NotPermitted(f"only root may use port {port}", hint="choose one from 1024 up") from refusal
            raise loopback.missing(refusal, host) or refusal from refusal
    return True


def _candidates(first: int) -> Iterator[int]:
    yield from range(first, _LAST + 1)
    yield from range(_LOWEST_FREE, first)


def _recorded(home: Home, *, but: str) -> dict[int, str]:
    """The ports of the other machines, by port. A record that cannot be read has none."""
    ports = {}
    for name in home.names():
        if name != but and (port := _port_of(home.machine(name).record)) is not None:
            ports[port] = name
    return ports


def _port_of(path: Path) -> int | None:
    try:
        return record.load(path).ssh_port
    except PommelError:
        return None
