"""The quality of a viewer's pictures while the screen changes. Band: core, no I/O; time is an argument.

The viewer's own choice is the maximum. If its link cannot carry that often enough, the quality is lowered before the
rate is, and raised again as soon as possible.
"""

from __future__ import annotations

from dataclasses import dataclass

# Measured on pages of text and on photographs: from quality 50 to 25, a JPEG loses a third of its bytes and 1 to 3 dB.
# From 25 to 15, another fifth costs another 2 dB, and small text cannot be read any more.
FLOOR = 25
_LONG_S = 0.1  # if a change takes longer than this to send, the quality is lowered
_SHORT_S = 0.05
_DOWN, _UP = 0.75, 8


@dataclass(slots=True)
class Grade:
    """One viewer's quality. A round is all changes since the last round, in one or more servings."""

    asked: int
    quality: int = 0
    _began_s: float = 0.0
    _judged_s: float = 0.0  # when the round began, or when the quality was last lowered in it

    def __post_init__(self) -> None:
        self.quality = self.asked

    @property
    def is_pressed(self) -> bool:
        """Whether the viewer gets a lower quality than it asked for."""
        return self.quality < self.asked

    def ask(self, quality: int) -> None:
        """Set the viewer's wish; it applies at once."""
        self.asked = self.quality = quality

    def begin(self, now_s: float) -> None:
        """Note that a round begins."""
        self._began_s = self._judged_s = now_s

    def held_up(self, now_s: float) -> None:
        """Note that the rest of the round waits for the link."""
        if now_s - self._judged_s > _LONG_S:
            self.quality = max(int(self.quality * _DOWN), min(FLOOR, self.asked))
            self._judged_s = now_s

    def done(self, now_s: float) -> None:
        """Note that all of a round has been sent."""
        if now_s - self._began_s < _SHORT_S:
            self.quality = min(self.quality + _UP, self.asked)
