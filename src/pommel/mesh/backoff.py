"""When to connect again. Band: core, no I/O; time and randomness are arguments.

The pause doubles, as MeshAgent's does, so that a server that has restarted is not overloaded by all its devices at
once. There is also a limit: MeshCentral (1.1.55, meshagent.js) counts how often a device disconnected within two
minutes. With more than four it marks the device as misbehaving, and after six it no longer answers. So after four,
a device waits until the server no longer counts the first of them.
"""

from __future__ import annotations

from collections import deque

FIRST_S = (0.5, 2.0)
LONGEST_S = (240.0, 360.0)
CALM_S = 120.0  # after this time online, the pauses begin again with the shortest
_COUNTED_S, _MOST_LEAVES = 125.0, 4
REFUSED_S = 300.0  # after a refused server, try rarely: it may have been a proxy that disappears later


class Backoff:
    """One device's pauses. `chance` is a random number from 0 to 1 from the caller."""

    def __init__(self) -> None:
        self._pause_s: float | None = None
        self._left: deque[float] = deque(maxlen=_MOST_LEAVES)

    def lost(self, now_s: float, *, known: bool, online_for_s: float) -> None:
        """Note that a connection has ended; `known`: the server had got this device's identity."""
        if known:
            self._left.append(now_s)
        if online_for_s >= CALM_S:
            self._pause_s = None

    def pause_s(self, now_s: float, chance: float) -> float:
        """The time to wait before the next attempt; each call counts as an attempt."""
        if self._pause_s is None:
            self._pause_s = FIRST_S[0] + chance * (FIRST_S[1] - FIRST_S[0])
        else:
            self._pause_s = min(2 * self._pause_s, LONGEST_S[0] + chance * (LONGEST_S[1] - LONGEST_S[0]))
        return max(self._pause_s, self._forgiven_s() - now_s)

    def _forgiven_s(self) -> float:
        """The time from which the server counts few enough disconnections."""
        return self._left[0] + _COUNTED_S if len(self._left) == _MOST_LEAVES else 0.0
