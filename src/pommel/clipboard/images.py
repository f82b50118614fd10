"""Pictures from one clipboard's form to another's: macOS copies TIFF, Linux programs paste PNG, some copy JPEG or BMP.
Band: shell."""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection

from pommel.clipboard.content import BMP, JPEG, PNG, TIFF, Content, content_of

# Of pixels; a picture of four 8K screens. What claims more is no screen shot.
PIXELS_MAX = 4 * 7680 * 4320
# The best first: what to convert from, and by which of Pillow's readers and writers.
_FORMATS = {PNG: "PNG", TIFF: "TIFF", BMP: "BMP", JPEG: "JPEG"}
PICTURES = frozenset(_FORMATS)


def fitted(content: Content, forms: Collection[str], limit: int) -> Content:
    """Give a copy whose picture is in none of `forms` the same picture as PNG or TIFF, whichever of them there is.

    It is as it was where there is nothing to do, or that fails. It takes a moment for a large picture: call it in a
    thread.
    """
    source = next((form for form in _FORMATS if form in content.names), None)
    target = next((form for form in (PNG, TIFF) if form in forms), None)
    if source is None or target is None or any(form in forms for form in content.names if form in PICTURES):
        return content
    made = converted(content.get(source) or b"", source, target)
    if made is None:
        return content
    return content_of([*(form for form in content.forms if form[0] not in PICTURES), (target, made)], limit)


def with_png(content: Content, limit: int) -> Content:
    """Give a copy that has a picture but not as PNG the same picture as PNG in its stead (see `fitted`)."""
    return fitted(content, (PNG,), limit)


def converted(picture: bytes, source: str, target: str) -> bytes | None:
    """Convert a picture between the forms of a clipboard; None if it is none, or claims more than PIXELS_MAX pixels."""
    from PIL import Image, ImageOps

    made = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(picture), formats=(_FORMATS[source],)) as opened:
                if opened.width * opened.height > PIXELS_MAX:
                    return None
                # A camera's JPEG may be on its side and say so; PNG has no place for that which anybody looks at.
                image = ImageOps.exif_transpose(opened)
                profile = image.info.get("icc_profile")
                if image.mode == "CMYK":
                    image, profile = image.convert("RGB"), None  # PNG has no CMYK, and its profile is not RGB's
                how = {"compress_level": 1} if target == PNG else {"compression": "tiff_lzw"}
                image.save(made, _FORMATS[target], icc_profile=profile, **how)
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
        return None
    return made.getvalue()
