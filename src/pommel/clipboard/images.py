"""Pictures from one clipboard's form to another's: macOS copies TIFF, Linux programs paste PNG. Band: shell."""

from __future__ import annotations

import io
import warnings

from pommel.clipboard.content import PNG, TIFF, Content, content_of

# Of pixels; a picture of four 8K screens. What claims more is no screen shot.
PIXELS_MAX = 4 * 7680 * 4320


def with_png(content: Content, limit: int) -> Content:
    """Give a copy that has a picture as TIFF only the same picture as PNG in its stead; as it is where that fails.

    It takes a moment for a large picture: call it in a thread.
    """
    tiff = content.get(TIFF)
    if tiff is None or content.get(PNG) is not None:
        return content
    png = png_of(tiff)
    if png is None:
        return content
    return content_of([*(form for form in content.forms if form[0] != TIFF), (PNG, png)], limit)


def png_of(picture: bytes) -> bytes | None:
    """Convert a picture to PNG; None if it is none, or claims more than PIXELS_MAX pixels."""
    from PIL import Image

    made = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(picture), formats=("TIFF",)) as image:
                if image.width * image.height > PIXELS_MAX:
                    return None
                image.save(made, "PNG", compress_level=1, icc_profile=image.info.get("icc_profile"))
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
        return None
    return made.getvalue()
