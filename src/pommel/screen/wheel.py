"""Whole notches out of a wheel's steps, for machines whose wheel has nothing finer. Band: core, no I/O.

What comes out and what is kept are together what came in, always, and what is kept is less than a notch. Whole notches
of one turn come out at once, whatever is kept of earlier ones: a real wheel that turns back does so with its first.
"""

from __future__ import annotations

from dataclasses import dataclass

from pommel.wire.mouse import NOTCH


@dataclass(slots=True)
class Notches:
    """One direction of one wheel; `size` is how many steps make what it counts."""

    size: int = NOTCH
    rest: int = 0

    def take(self, steps: int) -> int:
        """Add a turn of so many steps; return how many notches come out, negative ones for the other way."""
        whole, part = self._cut(steps)
        more, self.rest = self._cut(self.rest + part)
        return whole + more

    def _cut(self, steps: int) -> tuple[int, int]:
        sign = 1 if steps > 0 else -1
        whole, part = divmod(abs(steps), self.size)
        return sign * whole, sign * part
