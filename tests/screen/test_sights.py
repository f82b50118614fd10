"""What a picture is taken for, and for how long a screen has stood still."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.screen.frame import Frame
from pommel.screen.geometry import Size
from pommel.screen.sights import Showing, Sight, WatchedScreen, look_at, parse_ppm


def ppm(frame: Frame) -> bytes:
    width, height = frame.size
    return b"P6\n%d %d\n255\n" % (width, height) + frame.pixels[:, :, 2::-1].tobytes()


def frame(width: int = 640, height: int = 480) -> Frame:
    return Frame.blank(Size(width, height))


def in_colours(count: int, lit: float) -> Frame:
    """A black screen of which the share `lit` has `count` colours."""
    made = frame()
    rows = round(480 * lit)
    values = np.arange(rows * 640, dtype=np.uint32).reshape(rows, 640) % count + 1
    made.pixels[:rows, :, :3] = values[:, :, None] * 3 % 256
    return made


@given(st.binary(max_size=200))
def test_any_bytes_are_a_picture_or_none(data: bytes) -> None:
    found = parse_ppm(data)
    assert found is None or len(data) >= found.size.width * found.size.height * 3


def test_a_picture_is_read_as_qemu_writes_it_and_not_when_it_is_cut_off() -> None:
    made = in_colours(200, 1.0)
    made.pixels[0, 0] = (1, 2, 3, 0)
    read = parse_ppm(ppm(made))
    assert read is not None and (read.pixels[:, :, :3] == made.pixels[:, :, :3]).all()
    assert parse_ppm(ppm(made)[:-1]) is None and parse_ppm(ppm(made) + b"x") is None
    assert parse_ppm(b"P6 99999 99999 255 ") is None


def test_blank_is_one_colour_or_qemus_own_line() -> None:
    plain = frame()
    assert look_at(plain).kind is Showing.BLANK
    plain.pixels[:, :] = 90
    assert look_at(plain).kind is Showing.BLANK
    line = frame()
    line.pixels[230:238, 100:500] = 170  # between rows 224 and 240, where it is written
    assert look_at(line).kind is Showing.BLANK
    line.pixels[300] = 170
    assert look_at(line).kind is Showing.TEXT


@pytest.mark.parametrize(
    ("colours", "lit", "kind"),
    [
        (1, 0.1, Showing.TEXT),
        (15, 0.4, Showing.TEXT),
        (60, 0.01, Showing.PICTURE),
        (15, 0.9, Showing.PICTURE),
        (80, 0.9, Showing.PICTURE),
    ],
)
def test_text_has_few_colours_on_much_background(colours: int, lit: float, kind: Showing) -> None:
    assert look_at(in_colours(colours, lit)).kind is kind


def test_a_look_at_the_same_pixels_is_the_look_before() -> None:
    first = look_at(in_colours(60, 0.5))
    assert look_at(in_colours(60, 0.5), first) is first
    assert look_at(in_colours(61, 0.5), first) != first
    assert str(first) == "shows a picture (640×480)"


def watched(letters: str) -> WatchedScreen:
    """A screen that is looked at each second; a dot is blank."""
    found = WatchedScreen()
    for at_s, letter in enumerate(letters):
        found.see(at_s, Sight(Showing.BLANK if letter == "." else Showing.PICTURE, Size(1, 1), letter.encode()))
    return found


@pytest.mark.parametrize(
    ("letters", "still_s", "changed"),
    [
        ("A", 0, False),
        ("AAAA", 3, False),
        ("AAAB", 0, True),
        ("AAABB", 1, True),
        ("CCABABAB", 5, True),  # it blinks since the first A
        ("CCABABABD", 0, True),
        ("ABCABC", 0, True),
        ("..AA", 1, False),
        ("..AA..AA", 1, False),
        ("", 0, False),
    ],
)
def test_what_blinks_stands_still_and_what_changes_does_not(letters: str, still_s: float, changed: bool) -> None:
    found = watched(letters)
    assert (found.still_s(max(0, len(letters) - 1)), found.changed) == (still_s, changed)


@given(st.text("AB.C", max_size=300))
def test_a_screen_is_never_still_for_longer_than_it_was_looked_at(letters: str) -> None:
    found = watched(letters)
    assert 0 <= found.still_s(len(letters)) <= len(letters)
    assert len(found._runs) <= 64
