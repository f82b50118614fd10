"""Work that a key started: its progress, its result, its cancellation. Band: face.

The app's calls run in threads, which cannot be ended from outside. But they report progress, and a report that raises
an error ends them as Ctrl-C would, at a place where they clean up.
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
    """The user cancelled the work. Not an Exception, so that no code treats it as a failure and tries again."""


@dataclass(frozen=True, slots=True)
class JobOutcome(Generic[T]):
    """The end of a call: `value`, `error`, or neither if it was cancelled."""

    value: T | None = None
    error: PommelError | None = None


class MenuJob:
    """One piece of work on machine `name`; `doing` is a word for it, such as "stopping"."""

    def __init__(self, name: str, doing: str) -> None:
        self.name = name
        self.doing = doing
        self.left_off = False
        self.warnings: deque[str] = deque()
        self._latest: Progress | None = None

    def report(self, event: Progress) -> None:
        """Take an event; called in the work's thread, and the only place where the work can be cancelled."""
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
        """Its progress, in one line."""
        at = "leaving off" if self.left_off else spell(self._latest, self.doing) if self._latest else ""
        return f"{self.name}: {self.doing}" + (f" · {at}" if at else "")


def attempt(call: Callable[[], T]) -> JobOutcome[T]:
    """Make a call in this thread and keep its result; errors that are not Pommel's or the host's are raised."""
    try:
        return JobOutcome(call())
    except LeftOff:
        return JobOutcome()
    except PommelError as error:
        return JobOutcome(error=error)
    except OSError as error:
        return JobOutcome(error=from_os(error))


def from_os(error: OSError) -> PommelError:
    """Convert an error of the host (a full disk, an unreadable file) to an error for the user."""
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
