from __future__ import annotations

import numpy as np
import pytest
import simplejpeg

from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size
from pommel.screen.jpeg import JpegEncoder, looks_drawn


def photo(width: int, height: int) -> Frame:
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x / 9 + y / 17) * 90 + 120, np.cos(x / 13) * 80 + 120, np.sin(y / 11 + x / 31) * 99 + 120, x * 0]
    return Frame(np.stack(planes, axis=2).astype(np.uint8))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 70), (63, 1), (64, 64), (333, 77)])
def test_pictures_are_what_was_drawn(width: int, height: int) -> None:
    frame = photo(width, height)
    back = simplejpeg.decode_jpeg(JpegEncoder().encode(frame.pixels, 95), "BGR")
    assert back.shape == (height, width, 3)
    assert np.abs(back.astype(int) - frame.pixels[:, :, :3]).mean() < 6


def test_a_part_of_a_frame_is_encoded_from_where_it_lies() -> None:
    frame = photo(300, 200)
    part = frame.view(Rect(64, 64, 128, 100))
    assert not part.flags.c_contiguous
    back = simplejpeg.decode_jpeg(JpegEncoder().encode(part, 95), "BGR")
    assert np.abs(back.astype(int) - part[:, :, :3]).mean() < 6


def test_quality_is_obeyed() -> None:
    frame, encoder = photo(400, 300), JpegEncoder()
    sizes = [len(encoder.encode(frame.pixels, quality)) for quality in (1, 30, 60, 90, 100)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 4


def test_text_keeps_its_colours_and_photographs_halve_them() -> None:
    text = Frame.blank(Size(400, 300))
    text.pixels[10:200:7, 5:300, :3] = (200, 40, 40)
    assert looks_drawn(text.pixels) and not looks_drawn(photo(400, 300).pixels)
    assert looks_drawn(photo(7, 7).pixels)  # so little of anything is drawn
    encoder = JpegEncoder()
    assert simplejpeg.decode_jpeg_header(encoder.encode(text.pixels, 50))[3] == "444"
    assert simplejpeg.decode_jpeg_header(encoder.encode(photo(400, 300).pixels, 50))[3] == "420"
