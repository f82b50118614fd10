"""Asking before something is done to the host that the user may not expect. Band: app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """What would be done, in words that end well with a question mark, and the lines to show before."""

    what: str
    lines: tuple[str, ...] = ()


Consent = Callable[[Request], bool]
