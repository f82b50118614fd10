"""What a machine's picture shows: blank, text or more, and how long it has not changed. Band: core, no I/O.

Pixels alone do not show that this is a desktop; `app/machine/waiting.py` has the other checks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pommel.screen.frame import BYTES_PER_PIXEL, Frame
from pommel.screen.geometry import Rect, Size

_FONT_HEIGHT = 16
# A text console has at most 16 colours (VGA; UEFI 2.10, 12.4), and most of it is background. A desktop has more
# colours, because its letters are smoothed and its windows have shades.
_CONSOLE_COLOURS = 16
_BACKGROUND = 0.5
_SAMPLE = 3  # every third pixel is counted: enough to decide, in a third of the time
_PPM = re.compile(rb"P6\s+(\d{1,5})\s+(\d{1,5})\s+255\s")
_RUNS_MAX = 64


class Showing(StrEnum):
    """The kind of a picture, judged by its pixels."""

    BLANK = "blank"  # also QEMU's own line of text, before a guest has set a mode
    TEXT = "text"  # firmware, a boot picker or a console in few colours
    PICTURE = "picture"


@dataclass(frozen=True, slots=True)
class Sight:
    """One look at a screen. Looks with equal `mark` have equal pixels."""

    kind: Showing
    size: Size
    mark: bytes

    def __str__(self) -> str:
        what = {Showing.BLANK: "is blank", Showing.TEXT: "shows text", Showing.PICTURE: "shows a picture"}[self.kind]
        return f"{what} ({self.size.width}×{self.size.height})"


def parse_ppm(data: bytes) -> Frame | None:
    """Read a PPM file (netpbm's P6, 8 bits a sample), as QEMU's screendump writes it; None: invalid or incomplete."""
    if (head := _PPM.match(data)) is None:
        return None
    width, height = int(head[1]), int(head[2])
    if len(data) - head.end() != width * height * 3:
        return None
    pixels = np.zeros((height, width, BYTES_PER_PIXEL), np.uint8)
    pixels[:, :, 2::-1] = np.frombuffer(data, np.uint8, offset=head.end()).reshape(height, width, 3)
    return Frame(pixels)


def shows_something(frame: Frame) -> bool:
    """Whether a picture is a machine's, and neither blank nor QEMU's own line of text in the middle.

    Source: ui/console.c, qemu_create_placeholder_surface.
    """
    size = frame.size
    line = (size.height // _FONT_HEIGHT - 1) // 2 * _FONT_HEIGHT
    below = line + _FONT_HEIGHT
    above_it = Rect(0, 0, size.width, line).clipped(size)
    below_it = Rect(0, below, size.width, size.height - below).clipped(size)
    return not (frame.is_plain(above_it) and frame.is_plain(below_it))


def look_at(frame: Frame, before: Sight | None = None) -> Sight:
    """Classify a picture; `before` is the last look, which saves the work if nothing has changed."""
    mark = hashlib.blake2b(frame.pixels.data, digest_size=16).digest()
    if before is not None and before.mark == mark and before.size == frame.size:
        return before
    return Sight(_kind(frame), frame.size, mark)


def _kind(frame: Frame) -> Showing:
    if not shows_something(frame):
        return Showing.BLANK
    colours, counts = np.unique(frame.pixels.view("<u4").reshape(-1)[::_SAMPLE] & 0xFFFFFF, return_counts=True)
    few = len(colours) <= _CONSOLE_COLOURS and counts.max() >= _BACKGROUND * counts.sum()
    return Showing.TEXT if few else Showing.PICTURE


class WatchedScreen:
    """A screen over time, from repeated looks."""

    def __init__(self) -> None:
        self.now: Sight | None = None
        self._runs: list[tuple[float, Sight]] = []  # each picture that differs from the last one, and its time
        self._visible: set[bytes] = set()

    def see(self, at_s: float, sight: Sight) -> None:
        """Add a look at the monotonic time `at_s`."""
        if self.now is None or self.now.mark != sight.mark:
            self._runs = [*self._runs[1 - _RUNS_MAX :], (at_s, sight)]
            if sight.kind is not Showing.BLANK and len(self._visible) < _RUNS_MAX:
                self._visible.add(sight.mark)
        self.now = sight

    @property
    def changed(self) -> bool:
        """Whether it has shown more than one picture that was not blank."""
        return len(self._visible) > 1

    def still_s(self, at_s: float) -> float:
        """The seconds without a change. Blinking, which is two pictures in turn, does not count as a change."""
        if not self._runs:
            return 0.0
        suffix = 1
        while suffix < len(self._runs) and _blinks([sight for _, sight in self._runs[-suffix - 1 :]]):
            suffix += 1
        # A to B is a change. Only A, B, A is blinking.
        return at_s - self._runs[-suffix if suffix > 2 else -1][0]


def _blinks(sights: Sequence[Sight]) -> bool:
    """Whether there are only two pictures, none of them blank: a blank one in between means a change of mode."""
    return len({sight.mark for sight in sights}) <= 2 and all(sight.kind is not Showing.BLANK for sight in sights)
