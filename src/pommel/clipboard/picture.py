"""A program for `images`: converts one picture from standard input to standard output. Band: shell.

The picture may be made to attack its decoder. So this process loads only Pillow, has limits on memory and processor
time, cannot write to a disk, and checks the size that the picture claims before it decodes a pixel. If the picture is
too large, it ends with TOO_MANY; after any other failure, with FAILED.
"""

from __future__ import annotations

import contextlib
import io
import resource
import sys
import warnings

from pommel.clipboard.content import AVIF, BMP, GIF, JPEG, PNG, TIFF, WEBP

# In pixels: as many as four 8K screens. A picture with more is not a screenshot.
PIXELS_MAX = 4 * 7680 * 4320
# Forms to convert from, the best first, with the names of Pillow's readers and writers.
FORMATS = {PNG: "PNG", TIFF: "TIFF", WEBP: "WEBP", AVIF: "AVIF", BMP: "BMP", JPEG: "JPEG", GIF: "GIF"}
FAILED, TOO_MANY = 3, 4
_MEMORY_BYTES = 3 << 30  # of address space: PIXELS_MAX of four bytes, a rotated copy of them, and libraries
_PROCESSOR_S = 20


class _TooManyPixels(Exception):
    pass


def made_of(picture: bytes, source: str, target: str, pixels_max: int) -> bytes:
    """Convert a picture. Pillow's readers raise many types of errors (struct.error, KeyError, EOFError ...)."""
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit is off: ours is checked below
    made = io.BytesIO()
    with Image.open(io.BytesIO(picture), formats=(FORMATS[source],)) as opened:
        if opened.width * opened.height > pixels_max:
            raise _TooManyPixels
        # A camera's JPEG may have its rotation in a tag. PNG programs ignore such a tag, so the picture is rotated.
        ImageOps.exif_transpose(opened, in_place=True)
        image: Image.Image = opened
        profile = opened.info.get("icc_profile")
        if image.mode == "CMYK":
            image, profile = image.convert("RGB"), None  # PNG has no CMYK, and its profile is not RGB's
        how = {"compress_level": 1} if target == PNG else {"compression": "tiff_lzw"}
        image.save(made, FORMATS[target], icc_profile=profile, **how)
    return made.getvalue()


def _confine() -> None:
    """Set this process's limits; a limit that the system does not support is skipped."""
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
