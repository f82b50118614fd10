from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.jpeg import JpegEncoder
from pommel.screen.scaling import Scaling

sizes = st.builds(Size, st.integers(1, 150), st.integers(1, 150))
scalings = st.integers(0, 5000)


@pytest.mark.parametrize(
    ("scaling", "picture"),
    [
        (1024, (1920, 1080)),
        (512, (960, 540)),
        (64, (120, 67)),
        (1, (120, 67)),
        (2048, (3840, 2160)),
        (4096, (7680, 4320)),
    ],
)
def test_the_picture_has_1024ths_of_a_side(scaling: int, picture: tuple[int, int]) -> None:
    assert Scaling(Size(1920, 1080), scaling).picture == picture


def test_growing_past_what_can_be_held_is_not_done() -> None:
    assert Scaling(Size(7680, 4320), 2048).picture == (7680, 4320)


def test_unscaled_pictures_are_views_of_the_frame() -> None:
    frame = Frame.blank(Size(100, 80))
    scaling = Scaling(frame.size, 1024)
    shown = scaling.render(frame, scaling.cover(Rect(10, 20, 30, 40)))
    assert np.shares_memory(shown, frame.pixels) and shown.shape == (40, 30, 4)


@settings(deadline=None, max_examples=200)
@given(sizes, scalings, st.data())
def test_a_change_shows_nowhere_but_in_its_cover(size, scaling, data) -> None:
    rect = Rect(
        x := data.draw(st.integers(0, size.width - 1)),
        y := data.draw(st.integers(0, size.height - 1)),
        data.draw(st.integers(1, size.width - x)),
        data.draw(st.integers(1, size.height - y)),
    )
    how = Scaling(size, scaling)
    frame = Frame(np.random.default_rng(1).integers(0, 256, (size.height, size.width, 4), np.uint8))
    everything = whole(how.picture)
    before = how.render(frame, everything).copy()
    frame.view(rect)[:] = np.random.default_rng(2).integers(0, 256, (rect.height, rect.width, 4), np.uint8)
    after = how.render(frame, everything)
    cover = how.cover(rect)
    assert cover.within(how.picture)
    patched = before.copy()
    patched[cover.y : cover.bottom, cover.x : cover.right] = how.render(frame, cover)
    assert (patched == after).all()


@settings(deadline=None)
@given(sizes, scalings, st.data())
def test_a_cover_is_rendered_from_what_read_says(size, scaling, data) -> None:
    how = Scaling(size, scaling)
    cover = how.cover(Rect(data.draw(st.integers(0, size.width - 1)), data.draw(st.integers(0, size.height - 1)), 1, 1))
    frame = Frame(np.random.default_rng(1).integers(0, 256, (size.height, size.width, 4), np.uint8))
    expected = how.render(frame, cover).copy()
    kept = frame.view(how.read(cover)).copy()
    frame.pixels[:] = 0
    frame.view(how.read(cover))[:] = kept
    assert (how.render(frame, cover) == expected).all()


@given(sizes, scalings, st.integers(-9, 99999), st.integers(-9, 99999))
def test_every_place_maps_into_the_frame(size, scaling, x, y) -> None:
    across, down = Scaling(size, scaling).to_frame(x, y)
    assert 0 <= across < size.width and 0 <= down < size.height


def test_corners_map_to_corners() -> None:
    how = Scaling(Size(1920, 1080), 512)
    assert how.to_frame(0, 0) == (1, 1) and how.to_frame(959, 539) == (1919, 1079)
    assert Scaling(Size(1920, 1080), 1024).to_frame(300, 200) == (300, 200)


def test_shrinking_takes_the_mean() -> None:
    frame = Frame.blank(Size(2, 2))
    frame.pixels[:, :, 0] = [[0, 100], [100, 200]]
    assert Scaling(Size(2, 2), 512).render(frame, Rect(0, 0, 1, 1))[0, 0, 0] == 100


def test_growing_repeats() -> None:
    frame = Frame.blank(Size(2, 1))
    frame.pixels[0, 1] = 7
    assert Scaling(Size(2, 1), 2048).render(frame, Rect(0, 0, 4, 2))[:, :, 0].tolist() == [[0, 0, 7, 7]] * 2


@pytest.mark.parametrize("scaling", [64, 512, 1024, 1500])
def test_what_is_rendered_can_be_encoded(scaling: int) -> None:
    frame = Frame.blank(Size(200, 120))
    frame.pixels[:60, :] = (255, 0, 0, 0)
    made = Scaling(frame.size, scaling)
    shown = made.render(frame, made.cover(whole(frame.size)))
    decoded = simplejpeg.decode_jpeg(JpegEncoder().encode(shown, 90), "BGR")
    assert decoded.shape[:2] == shown.shape[:2]
    assert np.abs(decoded.astype(int) - shown[:, :, :3]).mean() < 3
