"""Who looks on at a console, in words for people. Band: core, no I/O.

A name is what the visitor's program says of itself: it tells people apart, and proves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# The first that is found counts: Edge says Chrome too, Chrome says Safari too, an iPhone says Mac OS too.
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"),
             ("Chrome/", "Chrome"), ("Safari/", "Safari"))  # fmt: skip
_SYSTEMS = (("iPhone", "an iPhone"), ("iPad", "an iPad"), ("Android", "Android"), ("CrOS", "ChromeOS"),
            ("Windows", "Windows"), ("Mac OS X", "macOS"), ("Linux", "Linux"))  # fmt: skip
_LONGEST = 40


@dataclass(frozen=True, slots=True)
class Visitor:
    """One who looks on: a number that no other of this console has, a name, where from, since when, what it may."""

    id: int
    name: str
    address: str
    since_s: float  # seconds since the epoch
    view_only: bool


def name_of(user_agent: str | None) -> str:
    """Name a visitor by its User-Agent header (RFC 9110, 10.1.5), whatever that may be."""
    said = user_agent or ""
    browser = next((name for mark, name in _BROWSERS if mark in said), None)
    system = next((name for mark, name in _SYSTEMS if mark in said), None)
    if browser is not None:
        return f"{browser} on {system}" if system else browser
    product = re.match(r"[A-Za-z0-9._/+-]+", said, re.ASCII)
    return product[0][:_LONGEST] if product else "a program"
