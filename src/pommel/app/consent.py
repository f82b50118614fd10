"""Ask the user before a change of the host that they may not expect. Band: app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """`what` would be done, as a question without its question mark; `lines` are shown before it."""

    what: str
    lines: tuple[str, ...] = ()


Consent = Callable[[ConsentRequest], bool]
