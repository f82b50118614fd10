"""Progress of long work, as values. Band: core.

An app function takes a `Report` and calls it with `Progress`; a face draws them. Nothing here prints.
A step is a run of events with the same `step`: the first opens it, one with `finished=True` closes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One event. `done` and `total` share a `unit` ("B", "s", "steps"); `total` is None when unknown."""

    step: str
    text: str = ""
    done: float | None = None
    total: float | None = None
    unit: str = ""
    finished: bool = False
    warning: bool = False


Report = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """A `Report` that ignores all events."""


def note(report: Report, text: str) -> None:
    """Report a single line, such as a choice with its reason."""
    report(Progress(step="note", text=text, finished=True))


def warn(report: Report, text: str) -> None:
    """Report a warning."""
    report(Progress(step="warning", text=text, finished=True, warning=True))
