from __future__ import annotations

import pytest

from pommel.screen.sources.macos_cursors import CORNERS, NAMED, Cursors
from pommel.wire.messages import CursorShape


@pytest.mark.parametrize(("name", "shape"), [*NAMED.items(), *CORNERS.items()])
def test_named_cursors(name: str, shape: CursorShape) -> None:
    assert Cursors(str.encode).shape_of(name.encode()) is shape


def test_a_programs_own_cursor_is_an_arrow() -> None:
    assert Cursors(str.encode).shape_of(b"a paint brush") is CursorShape.ARROW


def test_the_first_of_two_that_look_alike() -> None:
    assert Cursors(lambda name: b"same").shape_of(b"same") is CursorShape.ARROW


def test_cursors_this_macos_has_not() -> None:
    assert Cursors(lambda name: None).shape_of(b"any") is CursorShape.ARROW


def test_cursors_of_another_size_are_looked_up_again() -> None:
    size = [b"small"]
    cursors = Cursors(lambda name: size[0] + name.encode())
    assert cursors.shape_of(b"smallIBeamCursor") is CursorShape.TEXT
    size[0] = b"large"
    assert cursors.shape_of(b"largeIBeamCursor") is CursorShape.TEXT


def test_an_animated_cursor_is_not_remembered_for_ever() -> None:
    cursors = Cursors(str.encode)
    for number in range(1000):
        cursors.shape_of(b"frame %d" % number)
    assert len(cursors._shapes) < 100
