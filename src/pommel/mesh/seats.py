"""Who looks on at one device. Band: core, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pommel.mesh.orders import Person


class Occupant(Protocol):
    """A desktop session that somebody sits at."""

    @property
    def person(self) -> Person:
        """Who it is."""

    @property
    def bar(self) -> str | None:
        """What the privacy bar is to say for them, if they have to be seen; {0} and {1} are names and logins."""


@dataclass(frozen=True, slots=True)
class Seated:
    """All that look on: how many desktops each has, who they are, and what the privacy bar says."""

    counts: Mapping[str, int]
    people: tuple[Person, ...]
    bar: str | None


class Seats:
    """The sessions of one device, in the order they came; `changed` is called after each change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._taken: list[Occupant] = []
        self._changed = changed

    @contextmanager
    def taken(self, who: Occupant) -> Iterator[None]:
        """Count `who` for the time of the block."""
        self._taken.append(who)
        self._changed()
        try:
            yield
        finally:
            self._taken.remove(who)
            self._changed()

    def now(self) -> Seated:
        """Tell how it is now."""
        people = tuple(one.person for one in self._taken)
        bars = [one.bar for one in self._taken if one.bar is not None]
        return Seated(Counter(one.key for one in people), people, _filled(bars[-1], people) if bars else None)


def filled(text: str, person: Person) -> str:
    """Put a person's name and login where MeshCentral's texts have {0} and {1}."""
    return _filled(text, (person,))


def _filled(text: str, people: tuple[Person, ...]) -> str:
    names, logins = (", ".join(dict.fromkeys(words)) for words in ((p.name for p in people), (p.login for p in people)))
    # One pass: a name may itself have {1} in it.
    return names.join(part.replace("{1}", logins) for part in text.split("{0}"))
