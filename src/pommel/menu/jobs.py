"""Work that a key began: what it does now, how it ended, how it is left off. Band: face.

The app's calls run in threads, which nobody can end from outside. They report, though, and a report that raises ends
them as Ctrl-C would: at a place where they clean up behind themselves.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pommel.errors import PommelError
from pommel.progress import Progress
from pommel.settings import format_size

T = TypeVar("T")


class LeftOff(KeyboardInterrupt):
    """The user has called the work off. No Exception: nothing on the way may take it for a failure to try again."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How a call ended: with `value`, with `error`, or (neither) left off."""

    value: T | None = None
    error: PommelError | None = None


class Job:
    """One piece of work on machine `name`; `doing` says it as a word, such as "stopping"."""

    def __init__(self, name: str, doing: str) -> None:
        self.name = name
        self.doing = doing
        self.left_off = False
        self.warnings: deque[str] = deque()
        self._latest: Progress | None = None

    def report(self, event: Progress) -> None:
        """Take an event; called in the work's thread, and the one place where the work can be left off."""
        if self.left_off:
            raise LeftOff
        if event.warning:
            self.warnings.append(event.text)
        elif not event.finished or event.text:
            self._latest = event

    def leave_off(self) -> None:
        """End the work at its next report."""
        self.left_off = True

    @property
    def text(self) -> str:
        """What it is at, for a line."""
        at = "leaving off" if self.left_off else spell(self._latest, self.doing) if self._latest else ""
        return f"{self.name}: {self.doing}" + (f" · {at}" if at else "")


def attempt(call: Callable[[], T]) -> Outcome[T]:
    """Make a call in this thread and keep how it ended; what is no error of Pommel's or the host's is raised."""
    try:
        return Outcome(call())
    except LeftOff:
        return Outcome()
    except PommelError as error:
        return Outcome(error=error)
    except OSError as error:
        return Outcome(error=from_os(error))


def from_os(error: OSError) -> PommelError:
    """The host's word (a full disk, a file that may not be read) as an error for the user."""
    what = f"{error.filename}: " if error.filename else ""
    hint = "free some space, then try again" if error.errno == errno.ENOSPC else None
    return PommelError(f"{what}{error.strerror or error}", hint=hint)


def spell(event: Progress, doing: str = "") -> str:
    """An event as a few words: the step (unless that is what is being done), how far it is, what it says."""
    step = "" if event.step == "note" or doing.startswith(event.step) else event.step
    return " · ".join(part for part in (step, _amount(event), event.text) if part)


def _amount(event: Progress) -> str:
    if event.done is None:
        return ""
    if event.unit == "B":
        done = format_size(round(event.done))
        return f"{done} of {format_size(round(event.total))}" if event.total else done
    return f"{event.done:.0f}" + (f" of {event.total:.0f}" if event.total else "") + f" {event.unit}"
