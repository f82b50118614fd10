from __future__ import annotations

import io

import pytest
from PIL import Image

from pommel.clipboard import images
from pommel.clipboard.content import LIMIT_BYTES, PNG, TEXT, TIFF, content_of
from pommel.clipboard.images import png_of, with_png


def picture(kind: str, mode: str = "RGBA") -> bytes:
    made = io.BytesIO()
    image = Image.linear_gradient("L").resize((64, 48)).convert(mode)
    image.save(made, kind)
    return made.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "1", "CMYK"])
def test_the_same_pixels(mode: str) -> None:
    tiff = picture("TIFF", mode)
    if mode == "CMYK":
        return check_refused(tiff)
    png = png_of(tiff)
    assert png is not None
    with Image.open(io.BytesIO(png)) as made, Image.open(io.BytesIO(tiff)) as given:
        assert made.format == "PNG"
        assert made.size == (64, 48)
        assert made.convert("RGBA").tobytes() == given.convert("RGBA").tobytes()
    return None


def check_refused(tiff: bytes) -> None:
    assert png_of(tiff) is None


@pytest.mark.parametrize("broken", [b"", b"II*\0", picture("TIFF")[:500], picture("PNG"), b"%!PS-Adobe"])
def test_no_tiff_no_png(broken: bytes) -> None:
    assert png_of(broken) is None
    content = content_of({TIFF: broken})
    assert with_png(content, LIMIT_BYTES) is content


def test_a_picture_that_claims_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "PIXELS_MAX", 64 * 48 - 1)
    assert png_of(picture("TIFF")) is None


def test_png_takes_tiffs_place() -> None:
    made = with_png(content_of({TIFF: picture("TIFF")}), LIMIT_BYTES)
    assert made.names == (PNG,)
    for other in (content_of({TEXT: b"t"}), content_of({TIFF: b"t", PNG: b"p"})):
        assert with_png(other, LIMIT_BYTES) is other
