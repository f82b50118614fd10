"""The server's requests to a device, and the answers. Band: core, no I/O.

JSON, one object for each message. The server itself writes `rights`, `userid` and `consent`; the other fields may come
from any user, and are not trusted. A message that is for something else, or that is unknown, is not an error, because
servers are usually newer than their agents.

Answers are pure ASCII, because some servers read text frames as if each character had one byte.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from pommel.errors import ProtocolError
from pommel.foreign import parse_json
from pommel.mesh.rights import FULL, Rights

MOST_TEXT = 64 << 10
_CONSENT_TIMEOUT_S = 30.0  # MeshAgent's own
_LONGEST_CONSENT_S = 3600.0


class Power(IntEnum):
    """Actions on a machine's power, by MeshCentral's numbers."""

    OFF = 2
    RESET = 3
    SLEEP = 4


@dataclass(frozen=True, slots=True)
class Person:
    """The sender of an order. `name` is for people; `key` is unique, also for a guest and the inviting user."""

    key: str = ""
    name: str = ""
    login: str = ""
    address: str = ""
    guest: str | None = None


@dataclass(frozen=True, slots=True)
class Manners:
    """How people at the machine are asked and informed; None: our default. `bar_text` is for the privacy bar."""

    title: str | None = None
    ask_text: str | None = None
    tell_text: str | None = None
    bar_text: str | None = None
    timeout_s: float = _CONSENT_TIMEOUT_S
    if_late: bool = False  # let them in if nobody has answered in time
    if_nobody: bool = False  # let them in if nobody is there to answer
    if_nobody_files: bool = False  # the same, to the files


@dataclass(frozen=True, slots=True)
class Order:
    """The common part of all orders of a person. `session` is the target of an answer."""

    person: Person
    rights: Rights
    session: str | None = None
    tag: Any = None


@dataclass(frozen=True, slots=True)
class Ping:
    """The server checks whether we are still connected."""


@dataclass(frozen=True, slots=True)
class Wake:
    """The machine with one of these network cards (lower case, colons) must wake up; every device gets this."""

    macs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PowerAction(Order):
    """An action on the machine's power; the server has checked the right to it."""

    action: Power = Power.OFF


@dataclass(frozen=True, slots=True)
class Tunnel(Order):
    """A request for a session. `where` is the relay's address, the part after `*/`."""

    where: str = ""
    tls_hash: bytes | None = None
    consent: int = 0
    view_only: bool = False
    manners: Manners = field(default_factory=Manners)
    only: frozenset[int] | None = None  # the protocols of a guest's invitation; None: all that the rights allow


@dataclass(frozen=True, slots=True)
class EndTunnel(Order):
    """A request to end desktop sessions of this person."""

    whose: str = ""
    guest: str | None = None


@dataclass(frozen=True, slots=True)
class ConsoleLine(Order):
    """A line typed on the device's Console tab."""

    line: str = ""


@dataclass(frozen=True, slots=True)
class Notify(Order):
    """A message for the people at the machine; they close it (`must_close`), or it disappears by itself."""

    title: str = ""
    text: str = ""
    must_close: bool = False


@dataclass(frozen=True, slots=True)
class GetClipboard(Order):
    """A request for the text on the clipboard."""


@dataclass(frozen=True, slots=True)
class SetClipboard(Order):
    """A request to put text on the clipboard."""

    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class UserSessions(Order):
    """A request for the login sessions. Some pages wait for the answer before they open a desktop."""


AnyOrder = (
    Ping | Wake | PowerAction | Tunnel | EndTunnel | ConsoleLine | Notify | GetClipboard | SetClipboard | UserSessions
)
_Said = Mapping[str, Any]


def parse_order(message: str | bytes) -> AnyOrder | None:
    """Parse one JSON message; None: it is not for us, or is not valid.

    Raises:
        ProtocolError: it is not a JSON object.
    """
    try:
        said = parse_json(message)
    except ValueError:
        raise ProtocolError("the server sent data that is not a command or JSON") from None
    if not isinstance(said, dict):
        raise ProtocolError("the server sends JSON that is not an object")
    read = _MESSAGES.get(_text(said, "type")) if said.get("action") == "msg" else _ACTIONS.get(_text(said, "action"))
    return read(said) if read is not None else None


# --- answers ---

PONG = json.dumps({"action": "pong"})


def answer(order: Order, kind: str, **said: Any) -> str:
    """The answer to an order that came as a `msg` of this kind, for the session that it came from."""
    told = {"action": "msg", "type": kind, "sessionid": order.session} | said
    return json.dumps(told if order.tag is None else told | {"tag": order.tag})


def sessions(viewers: Mapping[str, int]) -> str:
    """The present viewers: the number of open desktops of each person."""
    return json.dumps({"action": "sessions", "type": "kvm", "value": dict(viewers)})


def log(order: Order, number: int, text: str, *details: str | int) -> str:
    """An event of this device for the server's log; with `number` and `details` its page translates it."""
    said = {"action": "log", "msgid": number, "msgArgs": list(details), "msg": text[:4000]}
    said |= {"userid": order.person.key.partition("/guest:")[0], "sessionid": order.session}
    said |= {"remoteaddr": order.person.address} if order.person.address else {}
    return json.dumps(said | {"guestname": order.person.guest} if order.person.guest else said)


# --- reading ---


def _text(said: _Said, key: str, default: str = "") -> str:
    value = said.get(key)
    return value[:MOST_TEXT] if isinstance(value, str) else default


def _some(said: _Said, key: str) -> str | None:
    return _text(said, key) or None


def _number(said: _Said, key: str) -> int:
    value = said.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= FULL else 0


def _person(said: _Said) -> Person:
    guest = _some(said, "guestname")
    user = (_some(said, "guestuserid") if guest else None) or _text(said, "userid")
    login = _text(said, "username")
    shown = _text(said, "realname") or login or user
    if guest is None:
        return Person(user, shown, login, _text(said, "remoteaddr"))
    return Person(guest_key(user, guest), f"{shown} - {guest}", login, _text(said, "remoteaddr"), guest)


def guest_key(user: str, guest: str) -> str:
    """The key that distinguishes a guest from the user who invited them, in the form of MeshCentral's pages."""
    return f"{user}/guest:{base64.b64encode(guest.encode(errors='replace')).decode()}"


def _order(said: _Said) -> tuple[Person, Rights, str | None, Any]:
    return _person(said), Rights(_number(said, "rights")), _some(said, "sessionid"), said.get("tag")


def _tunnel(said: _Said) -> Tunnel | None:
    value = said.get("value")
    if not isinstance(value, str) or not value:
        return None
    try:
        tls_hash = bytes.fromhex(_text(said, "servertlshash")) or None
    except ValueError:
        tls_hash = None
    view_only = said.get("desktopviewonly") is True
    return Tunnel(*_order(said), value, tls_hash, _number(said, "consent"), view_only, _manners(said), _only(said))


def _only(said: _Said) -> frozenset[int] | None:
    options = said.get("soptions")
    usages = options.get("usages") if isinstance(options, dict) else None
    if usages is None:
        return None
    return frozenset(one for one in usages if type(one) is int) if isinstance(usages, list) else frozenset()


def _manners(said: _Said) -> Manners:
    options = said.get("soptions")
    wishes = options if isinstance(options, dict) else {}
    timeout = wishes.get("consentTimeout")
    usable = isinstance(timeout, int | float) and not isinstance(timeout, bool) and 0 < timeout <= _LONGEST_CONSENT_S
    return Manners(
        title=_some(wishes, "consentTitle") or _some(wishes, "notifyTitle"),
        ask_text=_some(wishes, "consentMsgDesktop"),
        tell_text=_some(wishes, "notifyMsgDesktop"),
        bar_text=_some(said, "privacybartext"),
        timeout_s=float(timeout) if usable and timeout is not None else _CONSENT_TIMEOUT_S,
        if_late=wishes.get("consentAutoAccept") is True,
        if_nobody=any(
            wishes.get(key) is True for key in ("consentAutoAcceptIfNoUser", "consentAutoAcceptIfDesktopNoUser")
        ),
        if_nobody_files=any(
            wishes.get(key) is True for key in ("consentAutoAcceptIfNoUser", "consentAutoAcceptIfFileNoUser")
        ),
    )


def _end_tunnel(said: _Said) -> EndTunnel | None:
    if said.get("protocol") != "kvm":
        return None
    return EndTunnel(*_order(said), _text(said, "xuserid"), _some(said, "guestname"))


def _notify(said: _Said) -> Notify | None:
    title, text = _text(said, "title"), _text(said, "msg")
    must_close = said.get("type") == "messagebox"
    return Notify(*_order(said), title, text, must_close) if text else None


def _set_clipboard(said: _Said) -> SetClipboard | None:
    # The whole text, of any length: a message has its own limit, and a part of a clipboard would be wrong.
    text = said.get("data")
    return SetClipboard(*_order(said), text) if isinstance(text, str) else None


def _power(said: _Said) -> PowerAction | None:
    wanted = said.get("actiontype")
    known = [action for action in Power if wanted in (int(action), str(int(action)))]
    return PowerAction(*_order(said), known[0]) if known else None


def _wake(said: _Said) -> Wake | None:
    macs = said.get("macs")
    if not isinstance(macs, list):
        return None
    return Wake(tuple(mac.lower().replace("-", ":") for mac in macs if isinstance(mac, str)))


_MESSAGES: dict[str, Callable[[_Said], AnyOrder | None]] = {
    "tunnel": _tunnel,
    "endtunnel": _end_tunnel,
    "console": lambda said: ConsoleLine(*_order(said), _text(said, "value")),
    "messagebox": _notify,
    "getclip": lambda said: GetClipboard(*_order(said)),
    "setclip": _set_clipboard,
    "userSessions": lambda said: UserSessions(*_order(said)),
}
_ACTIONS: dict[str, Callable[[_Said], AnyOrder | None]] = {
    "ping": lambda _: Ping(),
    "toast": _notify,
    "poweraction": _power,
    "wakeonlan": _wake,
}
