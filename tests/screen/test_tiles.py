from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pommel.screen import tiles
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.tiles import TILE

sizes = st.builds(Size, st.integers(1, 300), st.integers(1, 300))
places = st.tuples(st.integers(0, 299), st.integers(0, 299))
rects = st.builds(Rect, st.integers(-20, 320), st.integers(-20, 320), st.integers(0, 200), st.integers(0, 200))


@settings(deadline=None)
@given(sizes, st.lists(places, max_size=8), st.lists(rects, max_size=4))
def test_exactly_the_tiles_that_differ_within_the_damage_are_found(size, points, damage) -> None:
    old, new = Frame.blank(size), Frame.blank(size)
    expected = tiles.empty_map(size)
    where = tiles.touched(size, damage)
    for x, y in points:
        if x < size.width and y < size.height:
            new.pixels[y, x, 1] = 9
            expected[y // TILE, x // TILE] = where[y // TILE, x // TILE]
    assert (tiles.changed(old, new, where).tiles == expected).all()


@settings(deadline=None)
@given(sizes, st.lists(rects, max_size=5))
def test_touched_tiles_are_those_with_a_pixel_inside(size, damage) -> None:
    pixels = np.zeros((size.height, size.width), bool)
    for rect in damage:
        inside = rect.clipped(size)
        pixels[inside.y : inside.bottom, inside.x : inside.right] = True
    found = tiles.touched(size, damage)
    for row, column in np.ndindex(found.shape):
        part = pixels[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        # A rectangle touches a tile wherever it lies in it; the map has no finer grain.
        assert found[row, column] == part.any()


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 34))), st.integers(0, 63), st.integers(0, 63))
def test_rectangles_cover_all_tiles_once_and_are_few(dirty, cut_x, cut_y) -> None:
    size = Size(dirty.shape[1] * TILE - cut_x, dirty.shape[0] * TILE - cut_y)
    seen = np.zeros((size.height, size.width), np.uint8)
    found = tiles.rects(dirty, size)
    for rect in found:
        assert rect.area and rect.within(size) and rect.x % TILE == 0 and rect.y % TILE == 0
        seen[rect.y : rect.bottom, rect.x : rect.right] += 1
    assert seen.max(initial=0) <= 1
    for row, column in np.argwhere(dirty):
        assert seen[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE].all()
    assert len(found) <= max(24, dirty.shape[0])


def test_a_whole_change_is_one_rectangle_and_none_is_none() -> None:
    size = Size(1920, 1080)
    assert tiles.rects(tiles.touched(size, [whole(size)]), size) == [whole(size)]
    assert tiles.rects(tiles.empty_map(size), size) == []


def test_one_clean_tile_between_two_changed_ones_is_sent_along_two_are_not() -> None:
    size = Size(TILE * 6, TILE)
    near = np.array([[True, False, True, False, False, True]])
    assert tiles.rects(near, size) == [Rect(0, 0, TILE * 3, TILE), Rect(TILE * 5, 0, TILE, TILE)]


def test_columns_above_each_other_become_one_rectangle() -> None:
    size = Size(TILE * 4, TILE * 3)
    dirty = np.zeros((3, 4), bool)
    dirty[:, 1:3] = True
    assert tiles.rects(dirty, size) == [Rect(TILE, 0, TILE * 2, TILE * 3)]


@settings(deadline=None)
@given(sizes, st.lists(places, max_size=8))
def test_what_differs_is_never_in_a_margin_and_a_lone_change_is_trimmed_to_itself(size, points) -> None:
    old, new = Frame.blank(size), Frame.blank(size)
    drawn = [(x, y) for x, y in points if x < size.width and y < size.height]
    for x, y in drawn:
        new.pixels[y, x, 0] = 9
    found = tiles.changed(old, new, ~tiles.empty_map(size))
    sent = [tiles.trimmed(rect, found.clean) for rect in tiles.rects(found.tiles, size)]
    assert all(any(rect.contains(Rect(x, y, 1, 1)) for rect in sent) for x, y in drawn)
    assert all(rect.area and rect.within(size) for rect in sent)
    if len(set(drawn)) == 1:
        (x, y), (only,) = drawn[0], sent
        assert only.y == y and only.height == 1 and only.width <= 2 and only.contains(Rect(x, y, 1, 1))
    assert (found.clean[~found.tiles] == TILE).all()


@settings(deadline=None)
@given(sizes, st.lists(places, max_size=8), st.lists(rects, max_size=3))
def test_what_is_taken_over_is_all_that_differs_and_is_told_to_the_pixel(size, points, damage) -> None:
    shown, source = Frame.blank(size), Frame.blank(size)
    for x, y in points:
        if x < size.width and y < size.height:
            source.pixels[y, x, 2] = 9
    where = tiles.touched(size, damage)
    before = tiles.changed(shown, source, where)
    changes = tiles.take_over(shown, source, where)
    assert (changes.tiles >= before.tiles).all() and (changes.clean <= before.clean)[before.tiles].all()
    told = [tiles.trimmed(rect, changes.clean) for rect in tiles.rects(changes.tiles, size)]
    here = shown.pixels.any(axis=2)
    for rect in told:
        here[rect.y : rect.bottom, rect.x : rect.right] = False
    assert not here.any()
    assert not tiles.changed(shown, source, where).tiles.any()


def test_changes_inside_rectangles_end_where_they_do() -> None:
    size = Size(300, 200)
    lone = [Rect(70, 3, 10, 5), Rect(130, 70, 170, 130)]
    changes = tiles.Changes.inside(lone, size)
    assert [tiles.trimmed(rect, changes.clean) for rect in tiles.rects(changes.tiles, size)] == lone
