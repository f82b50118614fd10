"""The picture of a machine's pointer, in the form that viewers get. Band: core, no I/O.

Servers send four bytes for each pixel: blue, green, red and alpha, and usually the colours are multiplied by alpha.
Viewers get red, green, blue and alpha, not multiplied, as browsers use them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pommel.wire.messages import POINTER_SIDE


@dataclass(frozen=True, slots=True)
class PointerPicture:
    """`rgba` has rows from top to bottom, with straight alpha; `hot_x`, `hot_y` is the pixel that it points with."""

    width: int
    height: int
    hot_x: int
    hot_y: int
    rgba: bytes


UNKNOWN = PointerPicture(0, 0, 0, 0, b"")


def picture_of(bgra: npt.NDArray[np.uint8], hot_x: int, hot_y: int, *, multiplied: bool) -> PointerPicture:
    """A picture from a (height, width, 4) array; UNKNOWN if it is empty or too large for the wire.

    `multiplied`: the colours are multiplied by alpha.
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
    """Whether the colours may be multiplied by alpha: then no colour is greater than its alpha."""
    return bool((bgra[:, :, :3] <= bgra[:, :, 3:]).all())
