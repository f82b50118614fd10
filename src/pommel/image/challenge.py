"""Parses a registry's challenge for a login: WWW-Authenticate. Band: core, no I/O.

RFC 9110, 11.6.1, and Distribution's "Token Authentication Specification": a Basic challenge, or Bearer with the address
of the token service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pommel.foreign import parse_json

TOKEN_MAX = 64 << 10
_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_SANE = re.compile(r"[\x21-\x7e]{1,65536}\Z")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge: `scheme` in small letters (basic or bearer), and its parameters."""

    scheme: str
    parameters: Mapping[str, str]

    def token_url(self, scope: str) -> str:
        """The address for a token with `scope`.

        Raises:
            ValueError: the registry names no usable address.
        """
        realm = self.parameters.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.fragment:
            raise ValueError(f"it names no place that gives tokens: {realm[:200]!r}")
        query = parse_qsl(parts.query)
        if service := self.parameters.get("service"):
            query.append(("service", service))
        return parts._replace(query=urlencode([*query, ("scope", scope)])).geturl()


def parse(headers: Sequence[str]) -> Challenge | None:
    """The first supported challenge; None: there is none."""
    for text in headers:
        scheme, _, rest = text.strip().partition(" ")
        if scheme.lower() in ("basic", "bearer"):
            found = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(rest[:8192])}
            return Challenge(scheme.lower(), found)
    return None


def token_in(data: bytes) -> str:
    """The token in the answer of the token service.

    Raises:
        ValueError: there is none, or it cannot be used in a header.
    """
    told: Any = parse_json(data)
    found = (told.get("token") or told.get("access_token")) if isinstance(told, dict) else None
    if not isinstance(found, str) or not _SANE.match(found):
        raise ValueError("there is no token in the answer")
    return found
