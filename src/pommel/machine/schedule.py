"""`snapshots` in pommel.toml: how often snapshots are saved automatically, and how many are kept. Band: core, no I/O.

    snapshots = { every = "1d", keep = 7 }                    each night at 3, disks and NVRAM
    snapshots = { every = "6h", keep = 12, memory = true }    four times a day, a running machine with its memory

Times of day are the host's local time, so a slot is a `datetime` without a zone; the caller converts it.
A snapshot of the timer is recognized by the form of its tag and by its note; `keep` never deletes any other.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pommel.machine.snapshot_record import TIMED_NOTE, TIMED_TAG, Snapshot

_EVERY = re.compile(r"([1-9][0-9]{0,2})([hdw])\Z")
_AT = re.compile(r"([01][0-9]|2[0-3]):00\Z")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_MOST = 500  # a qcow2 allows 65535, but its table of snapshots is slow to write long before that
_FORM = "auto-%Y%m%d-%H%M%S"
_NIGHT = "03:00"
_WANTED = 'a table such as { every = "1d", keep = 7 }'


@dataclass(frozen=True, slots=True)
class Schedule:
    """The interval, and the number kept. `at_hour` is for days and weeks; `memory`: with a running machine's memory."""

    every: str
    every_hours: int
    keep: int
    at_hour: int
    memory: bool

    @classmethod
    def of(cls, parsed: Mapping[str, Any]) -> Schedule:
        """The schedule of a parsed setting."""
        count, unit = _EVERY.match(parsed["every"]).groups()  # type: ignore[union-attr]
        hour = 0 if unit == "h" else int(parsed["at"][:2])
        return cls(parsed["every"], int(count) * _HOURS[unit], parsed["keep"], hour, parsed["memory"])

    def slot(self, wall: datetime.datetime) -> datetime.datetime:
        """The last planned time up to `wall`. The grid is fixed: weeks begin on Mondays."""
        hours = (wall.toordinal() - 1) * 24 + wall.hour - self.at_hour
        return _at(hours - hours % self.every_hours + self.at_hour)

    def next(self, wall: datetime.datetime) -> datetime.datetime:
        """The first planned time after `wall`."""
        return self.slot(wall) + datetime.timedelta(hours=self.every_hours)


def parse(raw: Any) -> dict[str, Any]:
    """Parse the setting; in the environment it is words such as `every=1d keep=7`. Missing keys get their default.

    Raises:
        ValueError: with the allowed form.
    """
    if isinstance(raw, str):
        raw = {key: _typed(key, said) for key, _, said in (word.partition("=") for word in raw.split())}
    if not isinstance(raw, Mapping) or "every" not in raw:
        raise ValueError(_WANTED)
    given = {"keep": 7, "at": _NIGHT, "memory": False, **raw}
    if unknown := [str(key) for key in raw if key not in ("every", "keep", "at", "memory")]:
        raise ValueError(f"{_WANTED}, optionally with at and memory; there is no {unknown[0]}")
    if not isinstance(given["every"], str) or not _EVERY.match(given["every"]):
        raise ValueError(f'{_WANTED}, where every is hours, days or weeks: "6h", "1d", "2w"')
    if not isinstance(given["keep"], int) or isinstance(given["keep"], bool) or not 1 <= given["keep"] <= _MOST:
        raise ValueError(f"{_WANTED}, where keep is a whole number from 1 to {_MOST}")
    if not isinstance(given["at"], str) or not _AT.match(given["at"]):
        raise ValueError(f'{_WANTED}, where at is a full hour of the day: "{_NIGHT}"')
    if "at" in raw and given["every"].endswith("h"):
        raise ValueError(f"{_WANTED}; at is for days and weeks, and every is {given['every']}")
    if not isinstance(given["memory"], bool):
        raise ValueError(f"{_WANTED}, where memory is true or false")
    return {key: given[key] for key in ("every", "keep", "at", "memory")}


def tag_at(wall: datetime.datetime) -> str:
    """The tag of a snapshot that the timer makes at local time `wall`."""
    return wall.strftime(_FORM)


def made_at(tag: str) -> datetime.datetime | None:
    """The local time at which the timer made the snapshot `tag`; None: the tag has no such time."""
    try:
        return datetime.datetime.strptime(tag, _FORM)
    except ValueError:
        return None


def timed(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    """The timer's snapshots, oldest first. A user's snapshot with a similar name is not among them."""
    made = (each for each in snapshots if TIMED_TAG.match(each.tag) and each.note.startswith(TIMED_NOTE))
    return sorted(made, key=lambda each: (each.created, each.tag))


def surplus(snapshots: Sequence[Snapshot], keep: int) -> list[Snapshot]:
    """The timer's snapshots except the newest `keep`, oldest first."""
    return timed(snapshots)[:-keep]


def _at(hours: int) -> datetime.datetime:
    day, hour = divmod(hours, 24)
    return datetime.datetime.fromordinal(day + 1) + datetime.timedelta(hours=hour)


def _typed(key: str, said: str) -> Any:
    if key == "keep" and said.isdecimal():
        return int(said)
    return {"true": True, "false": False}.get(said, said) if key == "memory" else said
