"""What a machine's pointer looks like, as viewers are told it. Band: core, no I/O.

Servers tell it as four bytes a pixel: blue, green, red and alpha, which as a rule is multiplied into the colours;
viewers get it as red, green, blue and alpha by itself, as browsers have it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pommel.wire.messages import POINTER_SIDE


@dataclass(frozen=True, slots=True)
class PointerPicture:
    """`rgba` has rows from top to bottom, alpha not multiplied in; `hot_x`, `hot_y` is the pixel it points with."""

    width: int
    height: int
    hot_x: int
    hot_y: int
    rgba: bytes


UNKNOWN = PointerPicture(0, 0, 0, 0, b"")


def picture_of(bgra: npt.NDArray[np.uint8], hot_x: int, hot_y: int, *, multiplied: bool) -> PointerPicture:
    """Make a picture of a (height, width, 4) array; UNKNOWN of one without pixels or too large for the wire.

    `multiplied` tells whether alpha is multiplied into the colours.
    """
    height, width = bgra.shape[:2]
    if not 0 < width <= POINTER_SIDE or not 0 < height <= POINTER_SIDE:
        return UNKNOWN
    colours, alpha = bgra[:, :, 2::-1].astype(np.uint16), bgra[:, :, 3:]
    if multiplied:
        wide = alpha.astype(np.uint16)
        colours = np.minimum((colours * 255 + wide // 2) // np.maximum(wide, 1), 255)
    rgba = np.concatenate((colours * (alpha > 0), alpha), axis=2).astype(np.uint8)
    return PointerPicture(width, height, hot_x, hot_y, rgba.tobytes())


def may_be_multiplied(bgra: npt.NDArray[np.uint8]) -> bool:
    """Tell whether alpha can be multiplied into these colours: then none is above it."""
    return bool((bgra[:, :, :3] <= bgra[:, :, 3:]).all())
