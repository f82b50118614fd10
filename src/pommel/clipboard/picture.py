"""One picture from standard input, in another form to standard output: a program, for `images`. Band: shell.

Whoever copied the picture may have made it for its decoder. So this process opens nothing but Pillow, is given so much
memory and processor time and no room on any disk, looks at the size that the picture claims before it decodes a pixel,
and ends with TOO_MANY, or FAILED in all other cases.
"""

from __future__ import annotations

import contextlib
import io
import resource
import sys
import warnings

from pommel.clipboard.content import AVIF, BMP, GIF, JPEG, PNG, TIFF, WEBP

# Of pixels; a picture of four 8K screens. What claims more is no screen shot.
PIXELS_MAX = 4 * 7680 * 4320
# The best first: what to convert from, and by which of Pillow's readers and writers.
FORMATS = {PNG: "PNG", TIFF: "TIFF", WEBP: "WEBP", AVIF: "AVIF", BMP: "BMP", JPEG: "JPEG", GIF: "GIF"}
FAILED, TOO_MANY = 3, 4
_MEMORY_BYTES = 3 << 30  # of addresses: PIXELS_MAX of four bytes, a copy of them turned, and libraries
_PROCESSOR_S = 20


class _TooManyPixels(Exception):
    pass


def made_of(picture: bytes, source: str, target: str, pixels_max: int) -> bytes:
    """Convert a picture. Pillow's readers raise whatever their steps do (struct.error, KeyError, EOFError ...)."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # ours is looked at below, and refuses
    made = io.BytesIO()
    with Image.open(io.BytesIO(picture), formats=(FORMATS[source],)) as opened:
        if opened.width * opened.height > pixels_max:
            raise _TooManyPixels
        # A camera's JPEG may be on its side and say so; PNG has no place for that which anybody looks at.
        ImageOps.exif_transpose(opened, in_place=True)
        image: Image.Image = opened
        profile = opened.info.get("icc_profile")
        if image.mode == "CMYK":
            image, profile = image.convert("RGB"), None  # PNG has no CMYK, and its profile is not RGB's
        how = {"compress_level": 1} if target == PNG else {"compression": "tiff_lzw"}
        image.save(made, FORMATS[target], icc_profile=profile, **how)
    return made.getvalue()


def _confine() -> None:
    """Give back what a decoder does not need; what a system does not know is left."""
    limits = {
        resource.RLIMIT_AS: _MEMORY_BYTES,
        resource.RLIMIT_CPU: _PROCESSOR_S,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for what, most in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def main() -> int:
    """Read, convert, write; return the exit status."""
    source, target, pixels_max = sys.argv[1:4]
    _confine()
    warnings.simplefilter("ignore")
    try:
        made = made_of(sys.stdin.buffer.read(), source, target, int(pixels_max))
    except _TooManyPixels:
        return TOO_MANY
    except Exception:
        return FAILED
    sys.stdout.buffer.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
