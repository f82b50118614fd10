"""The tokens of a console's two links, and the passes of the browsers that came by them. Band: core, no I/O.

A link's token is only in the address. A browser that opens the link gets a pass: another secret, in a cookie (RFC
6265bis) that the browser sends only to addresses below one path. Cookies do not distinguish ports, so a cookie for all
paths would go to every server of this address; but nobody else knows this path. The cookie names no path: the browser
uses the path that it asked for, because a reverse proxy may add a prefix. Passes are stored as hashes, so a person who
reads the file cannot get in with it. A pass expires when it is not used for a day, and all passes end when the tokens
are renewed.
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
NOTED_S = 600.0  # the use of a pass is stored at most this often
MOST = 256  # if there are more, the least recently used are dropped
PLACE = "/at/{place}"  # all routes also exist below each place
_PLACE_BYTES = 16
_PLACE = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(slots=True)
class Pass:
    """One pass: the hash of its secret, the secret path of its cookie, and whether it is view-only."""

    hash: str
    place: str
    view_only: bool
    used_s: float  # seconds since the epoch, as everywhere here


class Secrets:
    """The tokens and passes of one console. A missing token is created."""

    def __init__(self, token: str | None = None, look_token: str | None = None) -> None:
        self.token = token or new_token()
        self.look_token = look_token or new_token()
        self._passes: dict[str, Pass] = {}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Secrets:
        """Read the result of `document`. Invalid parts count as missing."""
        kept = cls(*(_text(document.get(key)) for key in ("token", "look-token")))
        listed = document.get("passes")
        for one in listed if isinstance(listed, list) else []:
            if (found := _pass(one)) is not None:
                kept._passes[found.hash] = found
        return kept

    def document(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        passes = [asdict(one) for one in self._passes.values()]
        return {"token": self.token, "look-token": self.look_token, "passes": passes}

    def by_token(self, given: str | None) -> bool | None:
        """The link of a token: False: the full link, True: the view-only link, None: neither."""
        return False if is_token(given, self.token) else True if is_token(given, self.look_token) else None

    def by_pass(self, given: str | None, now_s: float) -> Pass | None:
        """The pass for a cookie's secret, if it has not expired."""
        found = self._passes.get(_hash(given)) if given else None
        return found if found is not None and now_s - found.used_s < UNUSED_S else None

    def use(self, one: Pass, now_s: float) -> bool:
        """Note the use of a pass; return whether it must be stored."""
        if now_s - one.used_s < NOTED_S:
            return False
        one.used_s = now_s
        return True

    def issue(self, *, view_only: bool, now_s: float, place: str | None = None) -> tuple[str, Pass]:
        """Make a pass for the path `place`, or a new one; return its secret, which is not stored, and the pass."""
        secret = new_token()
        made = Pass(_hash(secret), place or new_place(), view_only, now_s)
        live = [one for one in self._passes.values() if now_s - one.used_s < UNUSED_S]
        live.sort(key=lambda one: one.used_s)
        self._passes = {one.hash: one for one in [*live[-(MOST - 1) :], made]}
        return secret, made


def new_place() -> str:
    """A new secret part of a path, which nobody can guess."""
    return secrets.token_urlsafe(_PLACE_BYTES)


def is_place(text: str) -> bool:
    """Whether `text` has the form of `new_place`."""
    return _PLACE.fullmatch(text) is not None


def _hash(secret: str) -> str:
    # The secret has 32 random bytes, too many to try them all, so a fast hash is enough.
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _pass(value: Any) -> Pass | None:
    match value:
        case {"hash": str(hash_), "place": str(place), "view_only": bool(view_only), "used_s": float(used) | int(used)}:
            return Pass(hash_, place, view_only, float(used))
    return None
