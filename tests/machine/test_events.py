"""events.log: written by many, read as far as it is whole, bounded, and never in the way."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from pommel.machine import events
from pommel.machine.events import Word, note_event, read
from pommel.paths import MachinePaths

from .bare import finish, pommel, short_home


@pytest.fixture
def paths(tmp_path: Path) -> MachinePaths:
    return MachinePaths("m", tmp_path, tmp_path)


def test_what_is_noted_is_read(paths: MachinePaths) -> None:
    assert read(paths) == []
    paths.log.write_bytes(b"12345")
    note_event(paths, Word.START, "with\na newline")
    paths.serial_log.write_bytes(b"123")
    note_event(paths, "something else")
    first, second = read(paths)
    assert (first.word, first.text, first.qemu_log, first.serial_log) == ("start", "with\na newline", 5, 0)
    assert (second.word, second.text, second.qemu_log, second.serial_log) == ("something else", "", 5, 3)
    assert first.time <= second.time <= datetime.datetime.now(datetime.UTC)


def test_a_line_that_was_cut_off_spoils_no_other(paths: MachinePaths) -> None:
    note_event(paths, Word.START)
    with paths.events_log.open("ab") as log:
        log.write(b'{"time": "2026-01-')
    note_event(paths, Word.STOPPED)
    with paths.events_log.open("ab") as log:
        log.write(b"\xff\n[]\n")
    assert [event.word for event in read(paths)] == ["start", "stopped"]


def test_a_full_disk_costs_the_event_alone(paths: MachinePaths) -> None:
    paths.events_log.symlink_to("/dev/full")
    note_event(paths, Word.START)
    events.bound(paths)
    assert paths.events_log.is_symlink()


def test_a_machine_that_is_gone(paths: MachinePaths) -> None:
    gone = MachinePaths("m", paths.directory / "gone", paths.directory)
    note_event(gone, Word.STOPPED)
    events.bound(gone)
    assert read(gone) == [] and not gone.directory.exists()


def test_it_stays_bounded_and_the_last_are_kept(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BOUND_BYTES", 2000)
    for number in range(100):
        note_event(paths, "event", str(number))
        events.bound(paths)
    assert sum(path.stat().st_size for path in paths.directory.iterdir()) < 5000
    told = [int(event.text) for event in read(paths)]
    assert told == list(range(told[0], 100)) and len(told) > 10


def test_many_processes_at_once() -> None:
    code = (
        "from pommel.machine.events import note_event\nfor n in range(50):\n    note_event(paths, 'event', str(n) * 99)"
    )
    with short_home() as home:
        paths = home.machine("m")
        paths.directory.mkdir(parents=True)
        for child in [pommel(code, paths) for _ in range(4)]:
            assert finish(child) == (0, "")
        assert sorted(event.text for event in read(paths)) == sorted([str(n) * 99 for n in range(50)] * 4)
