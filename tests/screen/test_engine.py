from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen import tiles
from pommel.screen.engine import Engine
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.tiles import Changes

SIZE = Size(200, 150)
rects = st.builds(Rect, st.integers(0, 199), st.integers(0, 149), st.integers(1, 200), st.integers(1, 150))


@settings(deadline=None)
@given(st.lists(st.tuples(rects, st.integers(0, 3)), max_size=8))
def test_the_picture_follows_and_versions_tell_pictures_apart(paints) -> None:
    source, engine = Frame.blank(SIZE), Engine()
    engine.update(source, [])
    known: dict[tuple[Rect, int], bytes] = {}
    probes = [Rect(0, 0, 64, 64), Rect(64, 64, 128, 86), whole(SIZE)]
    for rect, colour in paints:
        source.view(rect.clipped(SIZE))[:] = colour
        changed = engine.update(source, [rect]).tiles
        assert (engine.frame.pixels == source.pixels).all()
        assert changed.any() or engine.version
        for probe in probes:
            pixels = engine.frame.view(probe).tobytes()
            assert known.setdefault((probe, engine.version_of(probe)), pixels) == pixels


def test_damage_that_changed_nothing_is_no_change() -> None:
    source, engine = Frame.blank(SIZE), Engine()
    assert engine.update(source, []).tiles.all()  # the first picture is all new
    before = engine.version
    assert not engine.update(source, [whole(SIZE)]).tiles.any()
    assert engine.version == before


def test_change_outside_the_damage_is_not_looked_for() -> None:
    source, engine = Frame.blank(SIZE), Engine()
    engine.update(source, [])
    source.pixels[:] = 5
    changed = engine.update(source, [Rect(0, 0, 1, 1)]).tiles
    assert changed.sum() == 1 and changed[0, 0]
    assert not engine.frame.pixels[64:].any()


def test_another_size_is_another_picture_and_the_old_one_stays_readable() -> None:
    engine = Engine()
    engine.update(Frame.blank(SIZE), [])
    old = engine.frame
    bigger = Frame(np.full((300, 400, 4), 3, np.uint8))
    assert engine.update(bigger, []).tiles.shape == (5, 7)
    assert engine.size == (400, 300) and old.size == SIZE
    bigger.pixels[:] = 9
    assert (engine.frame.pixels == 3).all()


def test_a_frame_whose_changes_are_known_is_shown_as_it_is() -> None:
    engine, first, second = Engine(), Frame.blank(SIZE), Frame.blank(SIZE)
    everything = Changes.throughout(tiles.touched(SIZE, [whole(SIZE)]))
    assert engine.update(first, [], everything).tiles.all() and engine.frame is first
    second.pixels[0, 0] = 9
    changed = Changes.throughout(tiles.touched(SIZE, [Rect(0, 0, 1, 1)]))
    before = engine.version_of(Rect(64, 64, 64, 64))
    assert engine.update(second, [], changed) is changed and engine.frame is second
    assert engine.version_of(Rect(0, 0, 1, 1)) > before == engine.version_of(Rect(64, 64, 64, 64))
    # One that does not tell is copied from then on, and never into a frame that is the source's.
    third = Frame(np.full((150, 200, 4), 3, np.uint8))
    assert engine.update(third, []).tiles.all() and engine.frame is not third and not second.pixels[1].any()
