from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image as Pil

from pommel.screen.frame import Frame, Pixels
from pommel.screen.geometry import Rect, Size
from pommel.screen.pictures import BEST_QUALITY, Format, PictureEncoder, Style

from .test_jpeg import photo


def text(width: int = 640, height: int = 128) -> Frame:
    frame = Frame.blank(Size(width, height))
    frame.pixels[:] = 250
    frame.pixels[10:-10:7, 5:-40, :3] = (200, 40, 40)
    frame.pixels[20:-10:11, 9:-30:3, :3] = (30, 30, 30)
    return frame


def opened(data: bytes) -> tuple[str | None, Pixels]:
    image = Pil.open(io.BytesIO(data))
    return image.format, np.asarray(image.convert("RGB"))[:, :, ::-1]


def encode(frame: Frame, style: Style) -> tuple[str | None, bool, bytes]:
    made = PictureEncoder().encode(frame.pixels, style)
    return opened(made.data)[0], made.fine, made.data


ALL = list(Format)


@pytest.mark.parametrize("format", ALL)
@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (70, 1), (1, 70), (333, 77)])
def test_whatever_the_style_it_is_the_picture(format: Format, tight: bool, best: bool, width: int, height: int) -> None:
    frame = photo(width, height)
    made = PictureEncoder().encode(frame.pixels, Style(95, format, tight, best))
    back = opened(made.data)[1]
    assert back.shape == (height, width, 3)
    assert np.abs(back.astype(int) - frame.pixels[:, :, :3]).mean() < 8


def test_a_viewer_that_takes_jpeg_only_gets_nothing_else() -> None:
    for frame in (text(), text(64, 64), photo(640, 128)):
        for tight in (False, True):
            for best in (False, True):
                assert encode(frame, Style(50, Format.JPEG, tight, best))[0] == "JPEG"


@pytest.mark.parametrize("format", [Format.WEBP, Format.PNG])
def test_text_at_rest_is_exact_and_a_photograph_as_good_as(format: Format) -> None:
    frame = text()
    kind, fine, data = encode(frame, Style(50, format, best=True))
    assert (kind, fine) == (format.value, True)
    assert (opened(data)[1] == frame.pixels[:, :, :3]).all()
    kind, fine, data = encode(photo(640, 128), Style(50, format, best=True))
    assert (kind, fine) == ("JPEG", True)
    assert simplejpeg.decode_jpeg_header(data)[3] == "444"
    assert data == simplejpeg.encode_jpeg(photo(640, 128).pixels, BEST_QUALITY, "BGRX", "444")


def test_jpeg_at_rest_is_of_high_quality_with_all_its_colours() -> None:
    frame = text()
    made = PictureEncoder().encode(frame.pixels, Style(30, best=True))
    assert made.fine and made.data == simplejpeg.encode_jpeg(frame.pixels, BEST_QUALITY, "BGRX", "444")


@pytest.mark.parametrize("format", [Format.WEBP, Format.PNG])
def test_a_little_text_is_exact_at_once_and_takes_no_more_bytes(format: Format) -> None:
    frame = text(128, 64)
    kind, fine, data = encode(frame, Style(50, format))
    assert (kind, fine) == (format.value, True)
    assert len(data) <= len(encode(frame, Style(50))[2])


def test_what_moves_is_jpeg_as_long_as_time_counts() -> None:
    for frame in (text(1280, 256), photo(640, 128)):
        assert encode(frame, Style(50, Format.WEBP))[:2] == ("JPEG", False)


def test_webp_where_bytes_count() -> None:
    kind, fine, data = encode(photo(640, 256), Style(40, Format.WEBP, tight=True))
    assert (kind, fine) == ("WEBP", False)
    assert len(data) < len(encode(photo(640, 256), Style(40))[2])
    kind, fine, _ = encode(text(1280, 256), Style(40, Format.WEBP, tight=True))
    assert (kind, fine) == ("WEBP", True)


def test_a_part_of_a_frame_is_encoded_from_where_it_lies() -> None:
    frame = text(300, 200)
    part = frame.view(Rect(64, 64, 128, 100))
    made = PictureEncoder().encode(part, Style(50, Format.WEBP, best=True))
    assert (opened(made.data)[1] == part[:, :, :3]).all()


def test_without_pillow_everything_is_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pommel.screen.pictures.find_spec", lambda name: None)
    for frame in (text(128, 64), text(), photo(640, 128)):
        for style in (Style(50, Format.WEBP), Style(50, Format.WEBP, True), Style(50, Format.PNG, best=True)):
            assert encode(frame, style)[0] == "JPEG"
