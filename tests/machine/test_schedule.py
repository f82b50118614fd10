"""When a machine is saved by itself, and which of those snapshots go: the grid of slots, and what `keep` may touch."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import UsageError
from pommel.machine.schedule import Schedule, parse, surplus, tag_at, timed
from pommel.machine.snapshot_record import TIMED_NOTE, Snapshot, check_tag

WALLS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))


def schedule(**said: Any) -> Schedule:
    return Schedule.of(parse({"every": "1d", **said}))


def wall(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("every", "at", "now", "slot", "following"),
    [
        ("1d", "03:00", "2026-11-29 02:59:59", "2026-11-28 03:00", "2026-11-29 03:00"),
        ("1d", "03:00", "2026-11-29 03:00:00", "2026-11-29 03:00", "2026-11-30 03:00"),
        ("1d", "23:00", "2026-11-29 22:00:00", "2026-11-28 23:00", "2026-11-29 23:00"),
        ("1w", "03:00", "2026-11-29 12:00:00", "2026-11-23 03:00", "2026-11-30 03:00"),  # Mondays
        ("1h", None, "2026-11-29 12:34:56", "2026-11-29 12:00", "2026-11-29 13:00"),
        ("6h", None, "2026-11-29 05:59:00", "2026-11-29 00:00", "2026-11-29 06:00"),
        ("6h", None, "2026-11-29 23:59:00", "2026-11-29 18:00", "2026-11-30 00:00"),
    ],
)
def test_slots(every: str, at: str | None, now: str, slot: str, following: str) -> None:
    wanted = schedule(every=every, **({"at": at} if at else {}))
    assert (wanted.slot(wall(now)), wanted.next(wall(now))) == (wall(slot), wall(following))


@given(WALLS, st.integers(1, 999), st.sampled_from("hdw"))
def test_a_slot_is_not_later_than_now_and_the_next_one_is(now: datetime, count: int, unit: str) -> None:
    wanted = schedule(every=f"{count}{unit}")
    slot = wanted.slot(now)
    assert slot <= now < wanted.next(now) == slot + timedelta(hours=wanted.every_hours)
    assert wanted.slot(slot) == slot and wanted.slot(slot - timedelta(seconds=1)) < slot


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("1d", "a table such as"),
        ({}, "a table such as"),
        ({"keep": 7}, "a table such as"),
        ({"every": "1d", "retain": 3}, "there is no retain"),
        ({"every": "0d"}, "hours, days or weeks"),
        ({"every": "90s"}, "hours, days or weeks"),
        ({"every": 1}, "hours, days or weeks"),
        ({"every": "1d", "keep": 0}, "from 1 to 500"),
        ({"every": "1d", "keep": True}, "from 1 to 500"),
        ({"every": "1d", "keep": 501}, "from 1 to 500"),
        ({"every": "1d", "at": "3"}, "a full hour"),
        ({"every": "1d", "at": "03:30"}, "a full hour"),
        ({"every": "6h", "at": "03:00"}, "at is for days and weeks"),
        ({"every": "1d", "memory": "perhaps"}, "true or false"),
        ("every=1d keep=many", "from 1 to 500"),
    ],
)
def test_what_is_no_schedule(raw: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse(raw)


def test_defaults_and_the_environments_spelling() -> None:
    assert parse({"every": "1d"}) == {"every": "1d", "keep": 7, "at": "03:00", "memory": False}
    assert parse("every=2w keep=3 at=22:00 memory=true") == {"every": "2w", "keep": 3, "at": "22:00", "memory": True}


def made(day: int, **changes: Any) -> Snapshot:
    tag = tag_at(datetime(2026, 11, day, 3))
    return replace(Snapshot(tag, f"2026-11-{day:02}T02:00:00.000+00:00", (), False, True, note=TIMED_NOTE), **changes)


def test_nothing_but_what_the_timer_made_is_surplus() -> None:
    older_by_the_user = made(1, note="")  # of a Pommel that took such a name
    named_by_the_user = made(2, tag="auto-backup")
    without_ram = made(3, note=TIMED_NOTE + "; without RAM, in the state after a power cut: nvme")
    found = [made(5), older_by_the_user, made(4), named_by_the_user, without_ram]
    assert timed(found) == [without_ram, made(4), made(5)]
    assert surplus(found, 1) == [without_ram, made(4)]
    assert surplus(found, 3) == surplus(found, 9) == surplus([], 1) == []


def test_nobody_else_may_call_one_so() -> None:
    with pytest.raises(UsageError, match="reserves"):
        check_tag(made(1).tag)
    assert check_tag("auto-save") == "auto-save"
