"""Makes whole notches from a wheel's steps, for machines that only know notches. Band: core, no I/O.

The notches sent plus the rest always equal the steps received, and the rest is less than one notch. The whole notches
of a turn are sent at once and do not depend on the rest: when the user turns the wheel back, the first notch must have
an effect.
"""

from __future__ import annotations

from dataclasses import dataclass

from pommel.wire.mouse import NOTCH


@dataclass(slots=True)
class Notches:
    """One axis of one wheel; `size` is the number of steps in one notch."""

    size: int = NOTCH
    rest: int = 0

    def take(self, steps: int) -> int:
        """Add a turn of `steps`; return the number of whole notches, negative for the other direction."""
        whole, part = self._cut(steps)
        more, self.rest = self._cut(self.rest + part)
        return whole + more

    def _cut(self, steps: int) -> tuple[int, int]:
        sign = 1 if steps > 0 else -1
        whole, part = divmod(abs(steps), self.size)
        return sign * whole, sign * part
