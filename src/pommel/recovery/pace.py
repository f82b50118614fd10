"""The speed of a download, and the remaining time. Band: core, no I/O.

It decides when an event is due, and makes its text. Times are arguments, in seconds.
"""

from __future__ import annotations

from collections import deque

WINDOW_S = 10.0  # long enough for a steady value, short enough to show a slow network
_EVENT_EVERY_S = 0.25


class DownloadPace:
    """Counts the bytes of one download."""

    def __init__(self, total: int, done: int, now: float) -> None:
        self.total = total
        self.done = done
        self._steps: deque[tuple[float, int]] = deque([(now, 0)])
        self._told = now

    def arrived(self, count: int, now: float) -> bool:
        """Count bytes that arrived; return whether an event is due."""
        self.done += count
        self._steps.append((now, count))
        while len(self._steps) > 1 and self._steps[0][0] < now - WINDOW_S:
            self._steps.popleft()
        if now - self._told < _EVENT_EVERY_S:
            return False
        self._told = now
        return True

    def dropped(self, count: int) -> None:
        """Subtract bytes that must be fetched again. They still count for the speed: the network did carry them."""
        self.done -= count

    def rate(self, now: float) -> float:
        """Bytes per second over the last `WINDOW_S`; 0 if it is not known yet."""
        span = now - self._steps[0][0]
        return sum(count for _, count in self._steps) / span if span > 0 else 0.0

    def text(self, now: float) -> str:
        """Rate and time left, such as "12.5 MB/s, 1 min 20 s left"; empty if they are not known yet."""
        rate = self.rate(now)
        if rate < 1:
            return ""
        return f"{rate / 1e6:.1f} MB/s, {_duration((self.total - self.done) / rate)} left"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
