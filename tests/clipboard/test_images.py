from __future__ import annotations

import io

import pytest
from PIL import Image

from pommel.clipboard import images
from pommel.clipboard.content import BMP, HTML, JPEG, LIMIT_BYTES, PNG, TEXT, TIFF, Content, content_of
from pommel.clipboard.images import converted, fitted, with_png

MAC = frozenset({TEXT, PNG, TIFF})
KINDS = {PNG: "PNG", TIFF: "TIFF", BMP: "BMP", JPEG: "JPEG"}


def picture(kind: str, mode: str = "RGBA", **how: object) -> bytes:
    made = io.BytesIO()
    image = Image.linear_gradient("L").resize((64, 48)).convert(mode)
    image.save(made, kind, **how)
    return made.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "1", "CMYK"])
def test_tiff_to_png_keeps_the_pixels(mode: str) -> None:
    tiff = picture("TIFF", mode)
    png = converted(tiff, TIFF, PNG)
    assert png is not None
    with Image.open(io.BytesIO(png)) as made, Image.open(io.BytesIO(tiff)) as given:
        assert made.format == "PNG"
        assert made.size == (64, 48)
        assert made.convert("RGB").tobytes() == given.convert("RGB").tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "1"])
def test_png_to_tiff_and_back(mode: str) -> None:
    png = picture("PNG", mode)
    tiff = converted(png, PNG, TIFF)
    assert tiff is not None and tiff[:2] in (b"II", b"MM")
    with Image.open(io.BytesIO(converted(tiff, TIFF, PNG) or b"")) as made, Image.open(io.BytesIO(png)) as given:
        assert (made.mode, made.tobytes()) == (given.mode, given.tobytes())


@pytest.mark.parametrize(("kind", "mode"), [(BMP, "RGB"), (JPEG, "RGB"), (JPEG, "L"), (JPEG, "CMYK")])
def test_what_some_programs_copy_becomes_png(kind: str, mode: str) -> None:
    data = picture(KINDS[kind], mode)
    made = fitted(content_of({kind: data}), MAC, LIMIT_BYTES)
    assert made.names == (PNG,)
    with Image.open(io.BytesIO(made.get(PNG) or b"")) as png, Image.open(io.BytesIO(data)) as given:
        assert png.convert("RGB").tobytes() == given.convert("RGB").tobytes()


def test_a_camera_held_on_its_side() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turn by 90 degrees
    png = converted(picture("JPEG", "RGB", exif=exif), JPEG, PNG)
    with Image.open(io.BytesIO(png or b"")) as made:
        assert made.size == (48, 64)


@pytest.mark.parametrize("broken", [b"", b"II*\0", picture("TIFF")[:500], picture("PNG"), b"%!PS-Adobe"])
def test_no_tiff_no_png(broken: bytes) -> None:
    assert converted(broken, TIFF, PNG) is None
    content = content_of({TIFF: broken})
    assert with_png(content, LIMIT_BYTES) is content


def test_a_picture_that_claims_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "PIXELS_MAX", 64 * 48 - 1)
    assert converted(picture("TIFF"), TIFF, PNG) is None


def test_png_takes_tiffs_place() -> None:
    made = with_png(content_of({TIFF: picture("TIFF"), HTML: b"charset", TEXT: b"t"}), LIMIT_BYTES)
    assert made.names == (TEXT, HTML, PNG)
    for other in (content_of({TEXT: b"t"}), content_of({TIFF: b"t", PNG: b"p"})):
        assert with_png(other, LIMIT_BYTES) is other


@pytest.mark.parametrize(
    ("form", "forms", "names"),
    [
        (TIFF, {TEXT, TIFF}, (TIFF,)),
        (TIFF, {TEXT, PNG}, (PNG,)),
        (PNG, {TEXT, TIFF}, (TIFF,)),
        (PNG, MAC, (PNG,)),
        (PNG, {TEXT}, (PNG,)),
        (BMP, {TIFF}, (TIFF,)),
    ],
)
def test_a_side_gets_the_form_it_knows(form: str, forms: set[str], names: tuple[str, ...]) -> None:
    content: Content = content_of({form: picture(KINDS[form], "RGB")})
    assert fitted(content, forms, LIMIT_BYTES).names == names
