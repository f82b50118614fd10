"""The texts beside the pictures on a desktop's relay. Band: core, no I/O.

`c` or `cr` (recorded) once both ends are there, a number that says which protocol is wanted, and JSON. JSON for the
other end bears MeshCentral's mark, `ctrlChannel`; the viewer's options come without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pommel.foreign import parse_json
from pommel.wire.control import CHANNEL, control

JOINED, JOINED_AND_RECORDED = "c", "cr"
DESKTOP = 2
PROTOCOLS = {1: "a terminal", DESKTOP: "a desktop", 5: "files"}
_LONGEST_NUMBER = 4


@dataclass(frozen=True, slots=True)
class Wants:
    """The viewer says which protocol it wants, and from then on speaks it."""

    protocol: int


@dataclass(frozen=True, slots=True)
class Options:
    """The viewer's wishes; `consent` bits add to what the server asks for."""

    consent: int


@dataclass(frozen=True, slots=True)
class Echo:
    """A question that this text answers."""

    text: str


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to `PING`. Servers send some unasked, to keep the connection alive."""


@dataclass(frozen=True, slots=True)
class Bye:
    """The viewer leaves."""


def parse_control(text: str) -> Wants | Options | Echo | Pong | Bye | None:
    """Read a text from the viewer; None is one that is not for us."""
    if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER:
        return Wants(int(text))
    try:
        said = parse_json(text)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    if said.get("type") == "options":
        consent = said.get("consent")
        return Options(consent if isinstance(consent, int) and consent > 0 else 0)
    return _answered(said, text) if str(said.get("ctrlChannel")) == CHANNEL else None


def _answered(said: Mapping[str, Any], text: str) -> Echo | Pong | Bye | None:
    match said.get("type"):
        case "rtt":
            return Echo(text)
        case "ping":
            return Echo(control({"type": "pong"}))
        case "pong":
            return Pong()
        case "close":
            return Bye()
    return None


def message(text: str | None, number: int | None = None) -> str:
    """Show a line over the viewer's picture, or take it away (None); `number` has the page say it in its language."""
    return control({"type": "console", "msg": text, **({} if number is None else {"msgid": number})})


def metadata(viewers: Mapping[str, int]) -> str:
    """Say who looks on: how many desktops each person has open."""
    return control({"type": "metadata", "users": dict(viewers)})


PING = control({"type": "ping"})
WAITING = message("Waiting for user to grant access...", 1)
GRANTED = message(None, 0)
DENIED = message("Denied", 2)
