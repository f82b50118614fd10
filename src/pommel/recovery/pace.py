"""How fast a download goes and how long it will take. Band: core, no I/O.

Not the progress itself: it says when an event is due and what its text is. Times are the caller's, in seconds.
"""

from __future__ import annotations

from collections import deque

WINDOW_S = 10.0  # long enough to be calm, short enough to notice a slow network
_EVENT_EVERY_S = 0.25


class Pace:
    """Counts the bytes of one download."""

    def __init__(self, total: int, done: int, now: float) -> None:
        self.total = total
        self.done = done
        self._steps: deque[tuple[float, int]] = deque([(now, 0)])
        self._told = now

    def arrived(self, count: int, now: float) -> bool:
        """Count bytes that arrived; return whether it is time to tell."""
        self.done += count
        self._steps.append((now, count))
        while len(self._steps) > 1 and self._steps[0][0] < now - WINDOW_S:
            self._steps.popleft()
        if now - self._told < _EVENT_EVERY_S:
            return False
        self._told = now
        return True

    def dropped(self, count: int) -> None:
        """Take back bytes that must come again. They still count as speed: the network did carry them."""
        self.done -= count

    def rate(self, now: float) -> float:
        """Bytes per second over the last `WINDOW_S`; 0 when nothing can be said yet."""
        span = now - self._steps[0][0]
        return sum(count for _, count in self._steps) / span if span > 0 else 0.0

    def text(self, now: float) -> str:
        """Rate and time left, such as "12.5 MB/s, 1 min 20 s left"; empty when nothing can be said yet."""
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
