"""Rate and time left."""

from __future__ import annotations

from pommel.recovery.pace import WINDOW_S, DownloadPace


def test_rate_and_time_left() -> None:
    pace = DownloadPace(100_000_000, 0, now=0.0)
    assert pace.text(0.0) == ""
    assert pace.arrived(10_000_000, 2.0)
    assert pace.rate(2.0) == 5_000_000
    assert pace.text(2.0) == "5.0 MB/s, 18 s left"


def test_events_are_not_due_at_every_byte() -> None:
    pace = DownloadPace(100, 0, now=0.0)
    assert [pace.arrived(1, at) for at in (0.1, 0.2, 0.3, 0.4, 0.6)] == [False, False, True, False, True]


def test_the_rate_forgets_and_dropped_bytes_come_again() -> None:
    pace = DownloadPace(1000, 100, now=0.0)
    pace.arrived(500, 1.0)
    pace.dropped(500)
    assert pace.done == 100
    for second in range(2, 30):
        pace.arrived(1, float(second))
    assert pace.rate(29.0) <= (WINDOW_S + 1) / WINDOW_S


def test_long_times() -> None:
    for rest, text in ((80, "1 min 20 s"), (3600 + 120, "1 h 2 min")):
        pace = DownloadPace(rest * 1000 + 1000, 0, now=0.0)
        pace.arrived(1000, 1.0)
        assert pace.text(1.0) == f"0.0 MB/s, {text} left"
