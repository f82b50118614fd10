"""Pixels to JPEG with libjpeg-turbo. Band: core, no I/O.

Colour is stored at half resolution (4:2:0) only where people do not see it: in photographs, but not in coloured text on
a plain background, which gets fringes. The number of colours distinguishes the two.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

from pommel.screen.frame import Pixels

_SAMPLES = 32  # for each side: 1024 pixels are sampled
_FEW_COLOURS = 256
_FEWER_COLOURS = 64  # the least limit: an area as small as a word counts as drawn


class JpegEncoder:
    """Encodes JPEG files, which every viewer can read."""

    def encode(self, pixels: Pixels, quality: int, subsampling: str = "") -> bytes:
        """Return a JPEG file of `pixels`, which may be strided; quality 1-100.

        The default of `subsampling` is 4:4:4 for drawn content such as text, and 4:2:0 for photographs.
        """
        subsampling = subsampling or ("444" if looks_drawn(pixels) else "420")
        # Without a copy in simplejpeg: rows may have gaps between them (a part of a frame), pixels may not.
        return bytes(simplejpeg.encode_jpeg(pixels, quality, "BGRX", subsampling))


def looks_drawn(pixels: Pixels) -> bool:
    """Whether a sample of `pixels` has few colours, as text, windows and icons have."""
    step_y, step_x = max(pixels.shape[0] // _SAMPLES, 1), max(pixels.shape[1] // _SAMPLES, 1)
    sample = pixels[::step_y, ::step_x, :3].astype(np.uint32)
    colours = sample[:, :, 0] | sample[:, :, 1] << np.uint32(8) | sample[:, :, 2] << np.uint32(16)
    return bool(np.unique(colours).size < min(_FEW_COLOURS, max(colours.size // 4, _FEWER_COLOURS)))
