"""Forwards of host ports into a guest, and reverse forwards of guest ports to services. Band: core, no I/O.

The syntax for people (`8080:80`, `127.0.0.1:5432:5432/tcp`, `[::1]:8080:80/udp`), the syntax of QEMU (`hostfwd=`), and
QEMU's list of its forwards (`info usernet`). `app.forwards` decides whether a forward is possible.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LOOPBACK = "127.0.0.1"
EVERY = "0.0.0.0"  # noqa: S104 -- every address of this host: only where the user writes it
_ANY = (EVERY, "::")
_FORWARD = re.compile(r"(?:(?P<host>\[[^\]]*\]|\*|[0-9.]+):)?(?P<port>\d{1,5}):(?P<to>\d{1,5})(?:/(?P<proto>\w+))?\Z")
_ALONE = re.compile(r"(?P<port>\d{1,5})(?:/(?P<proto>\w+))?\Z")
_REVERSE = re.compile(r"(?P<to>\d{1,5})(?::(?P<host>\[[^\]]*\]|[A-Za-z0-9][A-Za-z0-9.-]*))?:(?P<port>\d{1,5})\Z")
_SOCKET = re.compile(r"(?P<to>\d{1,5}):(?P<path>/[^\0]{1,106})\Z")  # sun_path of a Unix socket has room for 107 bytes
_HOSTFWD = re.compile(r"(?P<proto>tcp|udp|):(?P<host>[^:]*|\[.*\]):(?P<port>\d+)-(?P<guest>.*):(?P<to>\d+)\Z")
_ROW = re.compile(r"\s*(TCP|UDP)\[HOST_FORWARD\]\s+-?\d+\s+(\S+)\s+(\d+)\s+(\S+)\s+(\d+)\s")
_STACK = re.compile(r"(?:Hub\s+-?\d+\s+)?\(?(?P<id>[^()\s]+?)\)?:\s*\Z")


@dataclass(frozen=True, slots=True, order=True)
class Forward:
    """A forward: a connection to `host`:`port` of this host reaches port `guest_port` of the guest."""

    protocol: str  # tcp | udp
    host: str  # an address in its shortest spelling
    port: int
    guest_port: int
    guest: str = ""  # the guest's address; empty: the first one that QEMU gives

    def __str__(self) -> str:
        return f"{spell(self.host)}:{self.port}:{self.guest_port}/{self.protocol}"

    @property
    def hostfwd(self) -> str:
        """The value after `hostfwd=`."""
        return f"{self.source}-{self.guest}:{self.guest_port}"

    @property
    def source(self) -> str:
        """The host's end as QEMU writes it."""
        return f"{self.protocol}:{spell(self.host)}:{self.port}"

    @property
    def here(self) -> tuple[str, str, int]:
        """The key that only one forward can have."""
        return self.protocol, self.host, self.port

    def meets(self, other: Forward) -> bool:
        """Whether both need the same port of this host."""
        any_ = self.host in _ANY or other.host in _ANY
        return (self.protocol, self.port) == (other.protocol, other.port) and (self.host == other.host or any_)


@dataclass(frozen=True, slots=True, order=True)
class Reverse:
    """A reverse forward: a connection in the guest to `guest_port` of the host's address reaches a service here.

    `host` is a name or an address and `port` its TCP port; or `host` is the path of a Unix socket and `port` is 0.
    """

    guest_port: int
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.guest_port}:{self.target}"

    @property
    def target(self) -> str:
        """The service, as a person writes it."""
        return self.host if self.host.startswith("/") else f"{spell(self.host)}:{self.port}"

    @property
    def on_loopback(self) -> bool:
        """Whether it listens on this host's 127.0.0.1, which a user-mode network reaches by itself."""
        return self.host in (LOOPBACK, "localhost")


def spell(host: str) -> str:
    """An address as it is written before a port."""
    return f"[{host}]" if ":" in host else host


def parse_forward(text: str) -> Forward:
    """Parse a forward: `[ADDRESS:]PORT:GUEST_PORT[/tcp|/udp]`, or `PORT` for the same port on both sides.

    Raises:
        ValueError: with a phrase that completes "… must be".
    """
    match = _FORWARD.match(text.strip()) or _ALONE.match(text.strip())
    if match is None:
        raise ValueError("[ADDRESS:]PORT:GUEST_PORT[/tcp|/udp], such as 8080:80 or 127.0.0.1:5432:5432/tcp")
    found = match.groupdict()
    protocol = (found["proto"] or "tcp").lower()
    if protocol not in ("tcp", "udp"):
        raise ValueError("of tcp or udp")
    port = _port(found["port"])
    return Forward(protocol, _address(found.get("host") or LOOPBACK), port, _port(found.get("to") or found["port"]))


def parse_reverse(text: str) -> Reverse:
    """Parse a reverse forward: `GUEST_PORT:[HOST:]PORT`, `GUEST_PORT:/path/of/a.socket`, or `PORT` for both sides.

    Raises:
        ValueError: with a phrase that completes "… must be".
    """
    text = text.strip()
    if text.endswith("/udp"):
        raise ValueError("without /udp: a reverse forward supports only TCP")
    text = text.removesuffix("/tcp") if "/" not in text.removesuffix("/tcp") else text
    if text.isdecimal():
        return Reverse(_port(text), LOOPBACK, _port(text))
    if (match := _SOCKET.match(text)) is not None:
        return Reverse(_port(match["to"]), match["path"], 0)
    if (match := _REVERSE.match(text)) is None:
        raise ValueError("GUEST_PORT:[HOST:]PORT or GUEST_PORT:/path/of/a.socket, such as 5432:127.0.0.1:5432")
    host = match["host"] or LOOPBACK
    if host.startswith("[") or re.fullmatch(r"[0-9.]+", host):
        host = _address(host)
    return Reverse(_port(match["to"]), host, _port(match["port"]))


def parse_forwards(raw: Any) -> tuple[str, ...]:
    """A setting's list of forwards; in the environment or a flag, words separated by blanks."""
    return tuple(str(each) for each in _listed(raw, parse_forward, '["8080:80", "127.0.0.1:5432:5432/tcp"]'))


def parse_reverses(raw: Any) -> tuple[str, ...]:
    """A setting's list of reverse forwards; in the environment or a flag, words separated by blanks."""
    return tuple(str(each) for each in _listed(raw, parse_reverse, '["5432:127.0.0.1:5432"]'))


def parse_hostfwd(text: str) -> Forward | None:
    """Parse the value after `hostfwd=`; None: an unknown form."""
    match = _HOSTFWD.match(text)
    if match is None:
        return None
    host = match["host"].strip("[]") or EVERY
    return Forward(match["proto"] or "tcp", host, int(match["port"]), int(match["to"]), match["guest"])


def parse_usernet(text: str) -> dict[str, tuple[Forward, ...]]:
    """The forwards of each user-mode network by its id, from QEMU's answer to `info usernet` (net/slirp.c)."""
    found: dict[str, list[Forward]] = {}
    stack = ""
    for line in text.splitlines():
        if (head := _STACK.match(line)) is not None and "Protocol[State]" not in line:
            stack = head["id"]
            found.setdefault(stack, [])
        elif (row := _ROW.match(line)) is not None:
            host = EVERY if row[2] == "*" else row[2].strip("[]")
            found.setdefault(stack, []).append(Forward(row[1].lower(), host, int(row[3]), int(row[5]), row[4]))
    return {stack: tuple(rows) for stack, rows in found.items()}


def double(forwards: Sequence[Forward]) -> tuple[Forward, Forward] | None:
    """Two forwards that need the same port of this host."""
    for number, each in enumerate(forwards):
        for other in forwards[:number]:
            if each.meets(other) and each != other:
                return other, each
    return None


def _listed(raw: Any, parse: Any, example: str) -> Iterable[Any]:
    words = raw.replace(",", " ").split() if isinstance(raw, str) else raw
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"a list of texts, such as {example}")
    return dict.fromkeys(parse(word) for word in words)


def _port(text: str) -> int:
    if not 1 <= int(text) <= 65535:
        raise ValueError("with ports from 1 to 65535")
    return int(text)


def _address(text: str) -> str:
    if text == "*":
        return EVERY
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise ValueError("with an address such as 127.0.0.1 or [::1]") from None
