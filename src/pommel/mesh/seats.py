"""The people who view one device. Band: core, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pommel.mesh.orders import Person


class Occupant(Protocol):
    """A desktop session and the person who uses it."""

    @property
    def person(self) -> Person:
        """The person."""

    @property
    def bar(self) -> str | None:
        """The text of the privacy bar for them, if it is required; {0} and {1} are names and logins."""


@dataclass(frozen=True, slots=True)
class Seated:
    """All viewers: the number of open desktops of each, the people, and the text of the privacy bar."""

    counts: Mapping[str, int]
    people: tuple[Person, ...]
    bar: str | None


class Seats:
    """The sessions of one device, in their order; `changed` is called after each change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._taken: list[Occupant] = []
        self._changed = changed

    @contextmanager
    def taken(self, who: Occupant) -> Iterator[None]:
        """Count `who` during the block."""
        self._taken.append(who)
        self._changed()
        try:
            yield
        finally:
            self._taken.remove(who)
            self._changed()

    def now(self) -> Seated:
        """The present viewers."""
        people = tuple(one.person for one in self._taken)
        bars = [one.bar for one in self._taken if one.bar is not None]
        return Seated(Counter(one.key for one in people), people, _filled(bars[-1], people) if bars else None)


def filled(text: str, person: Person) -> str:
    """Insert a person's name and login for {0} and {1} in MeshCentral's texts."""
    return _filled(text, (person,))


def _filled(text: str, people: tuple[Person, ...]) -> str:
    names, logins = (", ".join(dict.fromkeys(words)) for words in ((p.name for p in people), (p.login for p in people)))
    # In one pass, because a name may contain {1} itself.
    return names.join(part.replace("{1}", logins) for part in text.split("{0}"))
