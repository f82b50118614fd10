"""Pixels to JPEG with libjpeg-turbo. Band: core, no I/O.

Chroma is halved (4:2:0) only where a person does not see it: coloured text on a plain ground gets fringes from it,
photographs do not. Counted colours tell the two apart.
"""

from __future__ import annotations

import numpy as np
import simplejpeg

from pommel.screen.frame import Pixels

_SAMPLES = 32  # a side: 1024 pixels are looked at
_FEW_COLOURS = 256
_FEWER_COLOURS = 64  # a word's worth of pixels is drawn, if only as it is small


class JpegEncoder:
    """JPEG files, which every viewer reads."""

    def encode(self, pixels: Pixels, quality: int, subsampling: str = "") -> bytes:
        """Return a JPEG file of `pixels`, which may be strided; quality 1-100.

        Unless `subsampling` says, it is 4:4:4 for drawn content such as text, 4:2:0 for photographs and the like.
        """
        subsampling = subsampling or ("444" if looks_drawn(pixels) else "420")
        # Rows may be apart (a part of a frame), pixels must not be: simplejpeg then copies nothing.
        return bytes(simplejpeg.encode_jpeg(pixels, quality, "BGRX", subsampling))


def looks_drawn(pixels: Pixels) -> bool:
    """Tell whether a sample of `pixels` has as few colours as text, windows and icons have."""
    step_y, step_x = max(pixels.shape[0] // _SAMPLES, 1), max(pixels.shape[1] // _SAMPLES, 1)
    sample = pixels[::step_y, ::step_x, :3].astype(np.uint32)
    colours = sample[:, :, 0] | sample[:, :, 1] << np.uint32(8) | sample[:, :, 2] << np.uint32(16)
    return bool(np.unique(colours).size < min(_FEW_COLOURS, max(colours.size // 4, _FEWER_COLOURS)))
