"""Conditions on a machine's picture: at rest, changed, bright enough, like a reference. Band: core, no I/O.

A `Condition` is data. A `Watch` decides from the frames that it gets whether the condition holds. The caller (`pommel
wait`, recipes) takes the frames and measures the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pommel.screen.frame import Frame, Pixels
from pommel.screen.geometry import Rect, whole
from pommel.screen.sights import WatchedScreen, look_at
from pommel.screen.stillness import Stillness, differing


@dataclass(frozen=True, slots=True)
class Rest:
    """For `seconds`, `region` has not changed. Something that blinks, such as a cursor, is ignored.

    So are pictures that differ from the first one of that time in at most `tolerance` pixels, such as a clock.
    """

    seconds: float
    region: Rect | None = None  # None: the whole screen
    tolerance: int = 0


@dataclass(frozen=True, slots=True)
class Changed:
    """More than `share` (0 to 1) of the pixels in `region`, and more than `tolerance` pixels, differ from before.

    If the screen's size has changed, all pixels count as different.
    """

    share: float = 0.0
    region: Rect | None = None
    tolerance: int = 0


@dataclass(frozen=True, slots=True)
class Bright:
    """The mean brightness of `region` is from `least` to `most`; 0 is black, 1 is white."""

    least: float = 0.0
    most: float = 1.0
    region: Rect | None = None


@dataclass(frozen=True, slots=True)
class Like:
    """`region` looks like `reference`, a picture of the whole screen: the mean difference is at most `tolerance`.

    The difference of two pixels is the mean over their three colours, from 0 to 1. A screen of another size never
    matches.
    """

    reference: Frame
    tolerance: float = 0.02
    region: Rect | None = None


Condition = Rest | Changed | Bright | Like


class Watch:
    """Checks one condition with each frame. With a region outside the screen, it never holds."""

    def __init__(self, condition: Condition, before: Frame | None = None) -> None:
        """`before` is the picture that `Changed` compares with; None: the first frame."""
        self._condition, self._before = condition, before
        self._watched = WatchedScreen()
        self._stillness = Stillness(condition.tolerance) if isinstance(condition, Rest) else Stillness()
        self.still_s = 0.0  # for `Rest`: the seconds without a change
        self.where: Rect | None = None  # for `Changed`: the rectangle around all different pixels
        self.told = "no picture yet"  # the last result in words

    def see(self, at_s: float, frame: Frame) -> bool:
        """Check a frame at the monotonic time `at_s`; return whether the condition holds."""
        area = self._condition.region or whole(frame.size)
        if not area.area or not area.within(frame.size):
            self.told = f"the screen has {frame.size.width}×{frame.size.height} pixels, and the region is not on it"
            return False
        match self._condition:
            case Rest(seconds):
                return self._rests(at_s, frame, area, seconds)
            case Changed(share, _, tolerance):
                return self._changed(frame, area, share, tolerance)
            case Bright(least, most):
                found = brightness(frame.view(area))
                self.told = f"brightness {found:.3f}"
                return least <= found <= most
            case Like(reference, tolerance):
                return self._like(frame, area, reference, tolerance)

    def _rests(self, at_s: float, frame: Frame, area: Rect, seconds: float) -> bool:
        part = frame if area == whole(frame.size) else Frame(frame.view(area))
        self._watched.see(at_s, look_at(part, self._watched.now))
        self._stillness.see(at_s, frame, area)
        self.still_s = max(self._watched.still_s(at_s), self._stillness.still_s(at_s))
        self.told = f"at rest for {self.still_s:.0f} s of {seconds:g} s"
        return self.still_s >= seconds

    def _changed(self, frame: Frame, area: Rect, share: float, tolerance: int) -> bool:
        if self._before is None:
            self._before = frame.copy()  # a copy, because the source writes to its frame again
        count, self.where = area.area, area
        if self._before.size == frame.size:
            count, self.where = differing(self._before, frame, area)
        self.told = f"{100 * count / area.area:.1f} % of it has changed"
        return count > max(tolerance, share * area.area)

    def _like(self, frame: Frame, area: Rect, reference: Frame, tolerance: float) -> bool:
        if frame.size != reference.size:
            self.told = (
                f"the screen has {frame.size.width}×{frame.size.height} pixels, and the reference picture "
                f"{reference.size.width}×{reference.size.height}"
            )
            return False
        found = difference(frame.view(area), reference.view(area))
        self.told = f"it differs from the reference picture by {found:.4f}"
        return found <= tolerance


def difference(one: Pixels, other: Pixels) -> float:
    """The mean difference of two pictures of one size, from 0 (the same) to 1 (black and white)."""
    return float(np.abs(one[:, :, :3].astype(np.int16) - other[:, :, :3]).mean()) / 255


def brightness(pixels: Pixels) -> float:
    """The mean of all three colours, from 0 (black) to 1 (white)."""
    return float(pixels[:, :, :3].mean()) / 255
