"""Progress as values."""

from __future__ import annotations

import dataclasses

import pytest

from pommel.progress import Progress, ignore, note, warn


def test_a_note_and_a_warning_are_whole_steps() -> None:
    events: list[Progress] = []
    note(events.append, "port 2223")
    warn(events.append, "no KVM")
    assert events == [
        Progress("note", "port 2223", finished=True),
        Progress("warning", "no KVM", finished=True, warning=True),
    ]
    assert [event.warning for event in events] == [False, True]


def test_who_does_not_care_hears_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    note(ignore, "said to nobody")
    assert capfd.readouterr() == ("", "")


def test_an_event_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Progress("step").done = 1.0  # type: ignore[misc]
