"""The viewers of a console, in words for people. Band: core, no I/O.

A name is what the viewer's program says about itself. It helps to distinguish viewers, and proves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# The first match counts: Edge's text also contains Chrome, Chrome's also Safari, an iPhone's also Mac OS.
_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"),
             ("Chrome/", "Chrome"), ("Safari/", "Safari"))  # fmt: skip
_SYSTEMS = (("iPhone", "an iPhone"), ("iPad", "an iPad"), ("Android", "Android"), ("CrOS", "ChromeOS"),
            ("Windows", "Windows"), ("Mac OS X", "macOS"), ("Linux", "Linux"))  # fmt: skip
_LONGEST = 40


@dataclass(frozen=True, slots=True)
class Visitor:
    """A viewer: a number that is unique in this console, a name, an address, the time of arrival, its rights."""

    id: int
    name: str
    address: str
    since_s: float  # seconds since the epoch
    view_only: bool


def name_of(user_agent: str | None) -> str:
    """A name for a viewer from its User-Agent header (RFC 9110, 10.1.5), which may be any text."""
    said = user_agent or ""
    browser = next((name for mark, name in _BROWSERS if mark in said), None)
    system = next((name for mark, name in _SYSTEMS if mark in said), None)
    if browser is not None:
        return f"{browser} on {system}" if system else browser
    product = re.match(r"[A-Za-z0-9._/+-]+", said, re.ASCII)
    return product[0][:_LONGEST] if product else "a program"
