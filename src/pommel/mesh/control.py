"""The control texts on a desktop's relay, beside the pictures. Band: core, no I/O.

`c` or `cr` (recorded) when both ends are connected, then a number for the wanted protocol, then JSON. JSON for the
other end has MeshCentral's key `ctrlChannel`; the viewer's options do not have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pommel.foreign import parse_json
from pommel.wire.control import CHANNEL, control

JOINED, JOINED_AND_RECORDED = "c", "cr"
DESKTOP = 2
FILES, FILE = 5, 10  # the Files tab; a download of one file, without a page
PROTOCOLS = {1: "a terminal", DESKTOP: "a desktop", FILES: "files", FILE: "files"}
_LONGEST_NUMBER = 4


@dataclass(frozen=True, slots=True)
class Wants:
    """The viewer's choice of a protocol, which it then uses."""

    protocol: int


@dataclass(frozen=True, slots=True)
class ViewerOptions:
    """The viewer's wishes; `consent` bits are added to the server's. `file` is for FILE."""

    consent: int
    file: object = None


@dataclass(frozen=True, slots=True)
class Echo:
    """A question whose answer is this text."""

    text: str


@dataclass(frozen=True, slots=True)
class ControlPong:
    """The answer to `PING`. Some servers send it without a question, to keep the connection alive."""


@dataclass(frozen=True, slots=True)
class Bye:
    """The viewer disconnects."""


def parse_control(text: str) -> Wants | ViewerOptions | Echo | ControlPong | Bye | None:
    """Parse a text from the viewer; None: it is not for us."""
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
        return ViewerOptions(consent if isinstance(consent, int) and consent > 0 else 0, said.get("file"))
    return _reply(said, text) if str(said.get("ctrlChannel")) == CHANNEL else None


def _reply(said: Mapping[str, Any], text: str) -> Echo | ControlPong | Bye | None:
    match said.get("type"):
        case "rtt":
            return Echo(text)
        case "ping":
            return Echo(control({"type": "pong"}))
        case "pong":
            return ControlPong()
        case "close":
            return Bye()
    return None


def message(text: str | None, number: int | None = None) -> str:
    """Show a line over the viewer's picture, or remove it (None); with `number` the page translates it."""
    return control({"type": "console", "msg": text, **({} if number is None else {"msgid": number})})


def metadata(viewers: Mapping[str, int]) -> str:
    """The present viewers: the number of open desktops of each person."""
    return control({"type": "metadata", "users": dict(viewers)})


PING = control({"type": "ping"})
WAITING = message("Waiting for user to grant access...", 1)
GRANTED = message(None, 0)
DENIED = message("Denied", 2)
