"""Screenshots for MCP clients, and the conversion of their pixels to pixels of the screen. Band: app."""

from __future__ import annotations

import io
import itertools
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from pommel.errors import StateError, UsageError
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole

KEPT = 256  # a click may use the pixels of the newest so many screenshots
QUALITY = 85


@dataclass(frozen=True, slots=True)
class Shot:
    """One screenshot: its machine and display, the sizes of screen and picture, and the region of the screen."""

    number: int
    machine: str
    display: int
    screen: Size
    region: Rect
    picture: Size

    @property
    def scale(self) -> float:
        """Pixels of the picture for one pixel of the screen."""
        return self.picture.width / self.region.width

    def to_screen(self, x: int, y: int) -> tuple[int, int]:
        """The pixel of the screen at the middle of pixel x, y of the picture.

        Raises:
            UsageError: the picture has no such pixel.
        """
        if not Rect(x, y, 1, 1).within(self.picture):
            size = f"{self.picture.width}×{self.picture.height}"
            raise UsageError(f"{x}, {y} is not in screenshot {self.number}, which has {size} pixels")
        across = int((x + 0.5) * self.region.width / self.picture.width)
        down = int((y + 0.5) * self.region.height / self.picture.height)
        return self.region.x + across, self.region.y + down


class Shots:
    """The newest screenshots of one server."""

    def __init__(self) -> None:
        self._shots: OrderedDict[int, Shot] = OrderedDict()
        self._numbers = itertools.count(1)

    def take(
        self, machine: str, display: int, frame: Frame, region: Rect | None, longest_side: int, kind: str
    ) -> tuple[Shot, bytes]:
        """Make a picture (`kind`: jpeg or png) of a region of a frame, with no side longer than `longest_side`.

        Raises:
            UsageError: the region is not on the screen.
        """
        area = region or whole(frame.size)
        if not area.area or not area.within(frame.size):
            raise UsageError(
                f"the region is not on the screen, which has {frame.size.width}×{frame.size.height} pixels"
            )
        picture = Image.fromarray(frame.view(area)[:, :, 2::-1].copy())
        picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
        shot = Shot(next(self._numbers), machine, display, frame.size, area, Size(*picture.size))
        self._shots[shot.number] = shot
        while len(self._shots) > KEPT:
            self._shots.popitem(last=False)
        out = io.BytesIO()
        picture.save(out, kind.upper(), **({"quality": QUALITY} if kind == "jpeg" else {}))
        return shot, out.getvalue()

    def find(self, number: int, machine: str) -> Shot:
        """A screenshot of `machine`.

        Raises:
            StateError: there is none with this number, or it is too old.
        """
        shot = self._shots.get(number)
        if shot is None or shot.machine != machine:
            raise StateError(f"there is no screenshot {number} of {machine}", hint="take a new screenshot")
        return shot
