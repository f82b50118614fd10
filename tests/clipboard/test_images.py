from __future__ import annotations

import asyncio
import io
import struct

import pytest
from PIL import Image

from pommel.clipboard import images
from pommel.clipboard.content import (
    AVIF,
    BMP,
    GIF,
    HTML,
    JPEG,
    LIMIT_BYTES,
    PNG,
    TEXT,
    TIFF,
    WEBP,
    Content,
    HeldBack,
    content_of,
)
from pommel.clipboard.images import converted, fitted, with_png

MAC = frozenset({TEXT, PNG, TIFF})
KINDS = {PNG: "PNG", TIFF: "TIFF", BMP: "BMP", JPEG: "JPEG", WEBP: "WEBP", AVIF: "AVIF", GIF: "GIF"}


def picture(kind: str, mode: str = "RGBA", **how: object) -> bytes:
    made = io.BytesIO()
    image = Image.linear_gradient("L").resize((64, 48)).convert(mode)
    image.save(made, kind, **how)
    return made.getvalue()


def as_png(tiff: bytes) -> bytes:
    made = converted(tiff, TIFF, PNG)
    assert isinstance(made, bytes)
    return made


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "1", "CMYK"])
def test_tiff_to_png_keeps_the_pixels(mode: str) -> None:
    tiff = picture("TIFF", mode)
    png = converted(tiff, TIFF, PNG)
    assert isinstance(png, bytes)
    with Image.open(io.BytesIO(png)) as made, Image.open(io.BytesIO(tiff)) as given:
        assert made.format == "PNG"
        assert made.size == (64, 48)
        assert made.convert("RGB").tobytes() == given.convert("RGB").tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "1"])
def test_png_to_tiff_and_back(mode: str) -> None:
    png = picture("PNG", mode)
    tiff = converted(png, PNG, TIFF)
    assert isinstance(tiff, bytes) and tiff[:2] in (b"II", b"MM")
    with Image.open(io.BytesIO(as_png(tiff))) as made, Image.open(io.BytesIO(png)) as given:
        assert (made.mode, made.tobytes()) == (given.mode, given.tobytes())


@pytest.mark.parametrize(
    ("kind", "mode"),
    [(BMP, "RGB"), (JPEG, "RGB"), (JPEG, "L"), (JPEG, "CMYK"), (WEBP, "RGBA"), (AVIF, "RGB"), (GIF, "P")],
)
async def test_what_some_programs_copy_becomes_png(kind: str, mode: str) -> None:
    data = picture(KINDS[kind], mode)
    made = await fitted(content_of({kind: data}), MAC, LIMIT_BYTES)
    assert made.names == (PNG,)
    with Image.open(io.BytesIO(made.get(PNG) or b"")) as png, Image.open(io.BytesIO(data)) as given:
        assert png.convert("RGB").tobytes() == given.convert("RGB").tobytes()


def test_a_camera_held_on_its_side() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turn by 90 degrees
    png = converted(picture("JPEG", "RGB", exif=exif), JPEG, PNG)
    assert isinstance(png, bytes)
    with Image.open(io.BytesIO(png)) as made:
        assert made.size == (48, 64)


BROKEN = [b"", b"II*\0", picture("TIFF")[:500], picture("PNG"), b"%!PS-Adobe"]
# Pillow's reader of it lets a struct.error out.
SHORT_EXIF = [picture("PNG", "RGB", exif=exif) for exif in (b"Exif\0\0II*\0", b"Exif\0\0II*\0\x08")]


async def test_what_is_no_picture_is_left_out_and_told() -> None:
    for broken in BROKEN:
        assert converted(broken, TIFF, PNG) is HeldBack.PICTURE
    for broken in SHORT_EXIF:
        assert converted(broken, PNG, TIFF) is HeldBack.PICTURE
    alone = await with_png(content_of({TIFF: b"II*\0"}), LIMIT_BYTES)
    assert alone.why == "a picture that cannot be read (image/tiff)" and alone.size == 4
    assert (await with_png(content_of({TIFF: b"II*\0", TEXT: b"t"}), LIMIT_BYTES)).names == (TEXT,)


async def test_bombs_end_their_own_process_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "PIXELS_MAX", 64 * 48 - 1)
    assert converted(picture("TIFF"), TIFF, PNG) is HeldBack.PIXELS
    assert (await with_png(content_of({TIFF: picture("TIFF")}), LIMIT_BYTES)).held is HeldBack.PIXELS
    # One that claims no more pixels than may be, in more memory than there is for it.
    monkeypatch.setattr(images, "PIXELS_MAX", 40_000 * 40_000)
    bomb = io.BytesIO()
    Image.new("1", (8_000, 8_000)).save(bomb, "TIFF", compression="group4")
    wide = bytearray(picture("BMP", "RGB"))
    wide[18:26] = struct.pack("<ii", 40_000, 40_000)  # three bytes a pixel, of a file that has none of them
    assert converted(bytes(wide), BMP, PNG) is HeldBack.PICTURE
    # One that takes its time: the event loop goes on meanwhile, and it is ended.
    monkeypatch.setattr(images, "_DECODE_S", 0.05)  # less than any Python takes to begin
    turns = 0
    decoding = asyncio.ensure_future(with_png(content_of({TIFF: bomb.getvalue()}), LIMIT_BYTES))
    while not decoding.done():
        turns += 1
        await asyncio.sleep(0.01)
    assert (await decoding).held is HeldBack.PICTURE and turns > 1


async def test_png_takes_tiffs_place() -> None:
    made = await with_png(content_of({TIFF: picture("TIFF"), HTML: b"charset", TEXT: b"t"}), LIMIT_BYTES)
    assert made.names == (TEXT, HTML, PNG)
    for other in (content_of({TEXT: b"t"}), content_of({TIFF: b"t", PNG: b"p"})):
        assert await with_png(other, LIMIT_BYTES) is other


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
async def test_a_side_gets_the_form_it_knows(form: str, forms: set[str], names: tuple[str, ...]) -> None:
    content: Content = content_of({form: picture(KINDS[form], "RGB")})
    assert (await fitted(content, forms, LIMIT_BYTES)).names == names
