from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen import tiles
from pommel.screen.engine import Engine
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size
from pommel.screen.tiles import Changes
from pommel.screen.turns import Turns

SIZE = Size(200, 150)
places = st.builds(Rect, st.integers(0, 199), st.integers(0, 149), st.integers(1, 200), st.integers(1, 150))
strokes = st.tuples(st.lists(places, max_size=3), st.integers(0, 2))


@settings(deadline=None)
@given(st.lists(strokes, max_size=10))
def test_the_front_is_what_was_written_and_changed_tells_the_tiles_exactly(turns) -> None:
    truth, pair, engine = Frame.blank(SIZE), Turns(Frame.blank(SIZE), Frame.blank(SIZE)), Engine()
    engine.update(pair.front, [], Changes.throughout(~tiles.empty_map(SIZE)))
    known: dict[int, bytes] = {}
    for rects, colour in turns:
        rects = [rect.clipped(SIZE) for rect in rects]
        for part in (rects[:1], rects[1:]):  # written in two goes, as a camera does
            pair.write(part)
            for rect in part:
                truth.view(rect)[:] = pair.back.view(rect)[:] = colour
        before, kept = pair.front, pair.front.pixels.copy()
        changed = pair.turn()
        assert (before.pixels == kept).all()  # nobody wrote to what was shown
        assert (pair.front.pixels == truth.pixels).all()
        expected = tiles.changed(Frame(kept), truth, ~tiles.empty_map(SIZE))
        assert (changed.tiles == expected.tiles).all()
        differs = (kept != truth.pixels).any(axis=2)
        for rect in tiles.rects(changed.tiles, SIZE):
            told = tiles.trimmed(rect, changed.clean)
            differs[told.y : told.bottom, told.x : told.right] = False
        assert not differs.any()
        engine.update(pair.front, [], changed)
        assert engine.frame is pair.front
        corner = engine.frame.view(Rect(0, 0, 64, 64)).tobytes()
        assert known.setdefault(engine.version_of(Rect(0, 0, 64, 64)), corner) == corner


def test_what_is_overwritten_anyway_is_not_copied_before() -> None:
    pair = Turns(Frame.blank(SIZE), Frame.blank(SIZE))
    whole = Rect(0, 0, *SIZE)
    pair.write([whole])
    pair.back.pixels[:] = 1
    assert pair.turn().tiles.all()
    pair.write([whole])
    assert not pair.back.pixels.any()  # still as it was two turns ago
    pair.write([Rect(0, 0, 1, 1)])
    pair.back.pixels[:] = 1
    assert not pair.turn().tiles.any()


def test_nothing_new_is_no_turn() -> None:
    pair = Turns(Frame.blank(SIZE), Frame.blank(SIZE))
    front = pair.front
    assert not pair.turn().tiles.any() and pair.front is front
    pair.write([Rect(3, 3, 50, 50)])
    assert not pair.turn().tiles.any() and pair.front is front


@settings(deadline=None)
@given(st.lists(places, max_size=4))
def test_covered_tiles_have_no_pixel_outside(rects) -> None:
    inside = np.zeros((SIZE.height, SIZE.width), np.uint8)
    expected = tiles.empty_map(SIZE)
    for rect in rects:
        inside[:] = 0
        inside[rect.y : rect.bottom, rect.x : rect.right] = 1
        for row, column in np.ndindex(expected.shape):
            expected[row, column] |= inside[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64].all()
    assert (tiles.covered(SIZE, rects) == expected).all()
