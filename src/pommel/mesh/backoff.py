"""When to connect again. Band: core, no I/O; time and chance are arguments.

A pause that doubles, as MeshAgent's does, so that a server that comes back is not run down by all its devices. And a
limit of our own: MeshCentral (1.1.55, meshagent.js) counts how often a device left within two minutes, has more than
four in disgrace and does not speak to it any more after six.
"""

from __future__ import annotations

from collections import deque

FIRST_S = (0.5, 2.0)
LONGEST_S = (240.0, 360.0)
CALM_S = 120.0  # who was online for so long starts anew
_COUNTED_S, _MOST_LEAVES = 125.0, 4
REFUSED_S = 300.0  # a server that was refused is asked again, rarely: it may have been a proxy that is gone


class Backoff:
    """One device's pauses. `chance` is a number from 0 to 1, of the caller's rolling."""

    def __init__(self) -> None:
        self._pause_s: float | None = None
        self._left: deque[float] = deque(maxlen=_MOST_LEAVES)

    def lost(self, now_s: float, *, known: bool, online_for_s: float) -> None:
        """Take note that a connection has ended; `known` tells whether the server had been told who we are."""
        if known:
            self._left.append(now_s)
        if online_for_s >= CALM_S:
            self._pause_s = None

    def pause_s(self, now_s: float, chance: float) -> float:
        """Return how long to wait before the next attempt; each call is an attempt."""
        if self._pause_s is None:
            self._pause_s = FIRST_S[0] + chance * (FIRST_S[1] - FIRST_S[0])
        else:
            self._pause_s = min(2 * self._pause_s, LONGEST_S[0] + chance * (LONGEST_S[1] - LONGEST_S[0]))
        return max(self._pause_s, self._forgiven_s() - now_s)

    def _forgiven_s(self) -> float:
        """When the server has forgotten enough of our leaving."""
        return self._left[0] + _COUNTED_S if len(self._left) == _MOST_LEAVES else 0.0
