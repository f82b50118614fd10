"""What lets people in: the tokens of two links, and the passes of those who came by them. Band: core, no I/O.

A link's token is for the address alone. Whoever comes by it gets a pass, which is what the browser keeps: a secret of
its own in a cookie (RFC 6265bis) that only the addresses below a path of its own are sent. Cookies know no ports, so
that one for all paths would go to every server of this address; nobody else knows this path. The cookie names no path:
the browser takes the one that it asked for, which a reverse proxy may have put below another. Passes are kept as
hashes: what is read in a file lets nobody in. A pass that nobody uses for a day is over, and all are once the tokens
are made anew.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pommel.console.guard import is_token, new_token

UNUSED_S = 24 * 3600.0
NOTED_S = 600.0  # the use of a pass is noted as often
MOST = 256  # those that were used last stay
PLACE = "/at/{place}"  # all addresses are to be had below each place, too
_PLACE_BYTES = 16
_PLACE = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(slots=True)
class Pass:
    """One pass: the hash of its secret, the place in the path that its cookie is for, what it is good for."""

    hash: str
    place: str
    view_only: bool
    used_s: float  # seconds since the epoch, as everywhere here


class Secrets:
    """The tokens and passes of one console. What is missing is made anew."""

    def __init__(self, token: str | None = None, look_token: str | None = None) -> None:
        self.token = token or new_token()
        self.look_token = look_token or new_token()
        self._passes: dict[str, Pass] = {}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Secrets:
        """Read what `document` gave. What cannot be read as such counts as missing."""
        kept = cls(*(_text(document.get(key)) for key in ("token", "look-token")))
        listed = document.get("passes")
        for one in listed if isinstance(listed, list) else []:
            if (found := _pass(one)) is not None:
                kept._passes[found.hash] = found
        return kept

    def document(self) -> dict[str, Any]:
        """Give all of it as what JSON has words for."""
        passes = [asdict(one) for one in self._passes.values()]
        return {"token": self.token, "look-token": self.look_token, "passes": passes}

    def by_token(self, given: str | None) -> bool | None:
        """Tell which link's token this is: False the one for everything, True the one to look by; None: neither's."""
        return False if is_token(given, self.token) else True if is_token(given, self.look_token) else None

    def by_pass(self, given: str | None, now_s: float) -> Pass | None:
        """Find the pass that a cookie's secret is of, if it is not over."""
        found = self._passes.get(_hash(given)) if given else None
        return found if found is not None and now_s - found.used_s < UNUSED_S else None

    def use(self, one: Pass, now_s: float) -> bool:
        """Note that a pass is used; True if that is to be kept."""
        if now_s - one.used_s < NOTED_S:
            return False
        one.used_s = now_s
        return True

    def issue(self, *, view_only: bool, now_s: float, place: str | None = None) -> tuple[str, Pass]:
        """Make a pass, for a place that is there already or a new one; return its secret, which is not kept."""
        secret = new_token()
        made = Pass(_hash(secret), place or new_place(), view_only, now_s)
        live = [one for one in self._passes.values() if now_s - one.used_s < UNUSED_S]
        live.sort(key=lambda one: one.used_s)
        self._passes = {one.hash: one for one in [*live[-(MOST - 1) :], made]}
        return secret, made


def new_place() -> str:
    """Make a part of a path that nobody can guess."""
    return secrets.token_urlsafe(_PLACE_BYTES)


def is_place(text: str) -> bool:
    """Tell whether `text` is what `new_place` makes."""
    return _PLACE.fullmatch(text) is not None


def _hash(secret: str) -> str:
    # Of 32 random bytes: nobody can try them all, so there is no need of a slow hash.
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _pass(value: Any) -> Pass | None:
    match value:
        case {"hash": str(hash_), "place": str(place), "view_only": bool(view_only), "used_s": float(used) | int(used)}:
            return Pass(hash_, place, view_only, float(used))
    return None
