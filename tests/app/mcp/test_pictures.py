"""A smaller picture of a part of a screen, and the pixels that a click in it means."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pommel.app.mcp.pictures import KEPT, Shots
from pommel.errors import StateError, UsageError
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_pixel_of_the_picture_is_one_of_the_region(data: st.DataObject) -> None:
    size = Size(data.draw(st.integers(1, 400)), data.draw(st.integers(1, 400)))
    x, y = data.draw(st.integers(0, size.width - 1)), data.draw(st.integers(0, size.height - 1))
    region = Rect(x, y, data.draw(st.integers(1, size.width - x)), data.draw(st.integers(1, size.height - y)))
    shot, _ = Shots().take("m", 1, Frame.blank(size), region, data.draw(st.integers(64, 300)), "png")
    assert max(shot.picture) <= 300 and shot.scale <= 1
    for corner in ((0, 0), (shot.picture.width - 1, shot.picture.height - 1)):
        assert region.contains(Rect(*shot.to_screen(*corner), 1, 1))
    with pytest.raises(UsageError, match="is not in screenshot 1"):
        shot.to_screen(shot.picture.width, 0)


def test_a_picture_has_the_colours_and_its_pixels_lead_back() -> None:
    frame = Frame.blank(Size(800, 600))
    frame.view(Rect(400, 300, 100, 100))[:, :, 2] = 255  # red
    shot, data = Shots().take("m", 1, frame, Rect(200, 100, 600, 400), 300, "png")
    picture = np.asarray(Image.open(io.BytesIO(data)))
    assert picture.shape == (200, 300, 3) and shot.scale == 0.5
    (x, y) = (125, 125)
    assert tuple(picture[y, x]) == (255, 0, 0) and shot.to_screen(x, y) == (451, 351)
    whole, data = Shots().take("m", 1, frame, None, 4096, "jpeg")
    assert Image.open(io.BytesIO(data)).format == "JPEG" and whole.to_screen(799, 599) == (799, 599)


def test_only_the_last_screenshots_are_known_and_each_to_its_machine() -> None:
    shots, frame = Shots(), Frame.blank(Size(2, 2))
    for _ in range(KEPT + 1):
        shots.take("m", 1, frame, None, 64, "png")
    assert shots.find(2, "m").number == 2
    for number, machine in ((1, "m"), (2, "n"), (9999, "m")):
        with pytest.raises(StateError, match=f"no screenshot {number} of {machine}"):
            shots.find(number, machine)
    with pytest.raises(UsageError, match="has 2×2 pixels"):
        shots.take("m", 1, frame, Rect(0, 0, 3, 1), 64, "png")
