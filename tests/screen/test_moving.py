"""The film on a screen: found when it has moved for long enough, kept while it moves, forgotten when it rests."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen import tiles
from pommel.screen.geometry import Rect, Size
from pommel.screen.moving import LEAST_TILES, REST_S, SETTLED_S, STEADY_S, ScreenFilm
from pommel.screen.tiles import TILE

SIZE = Size(1920, 1080)
FILM = Rect(448, 256, 1024, 576)
FRAME_S = 1 / 30


def play(moving: ScreenFilm, *changing: Rect, seconds: float, from_s: float = 0.0, size: Size = SIZE) -> float:
    """Change all of `changing` each frame; return when that ended."""
    changed = tiles.touched(size, changing)
    for n in range(int(seconds / FRAME_S)):
        moving.note(changed, size, from_s + n * FRAME_S)
    return from_s + seconds


def test_what_changes_for_long_enough_is_a_film_and_not_before() -> None:
    moving = ScreenFilm()
    now = play(moving, FILM, seconds=STEADY_S - 0.1)
    assert moving.area(now) is None
    now = play(moving, FILM, seconds=0.3, from_s=now)
    assert moving.area(now) == FILM


def test_it_is_forgotten_once_it_rests_whether_anybody_notes_it_or_not() -> None:
    moving = ScreenFilm()
    now = play(moving, FILM, seconds=2)
    assert moving.area(now + REST_S - 0.1) == FILM
    assert moving.area(now + REST_S + 0.1) is None


def test_a_cursor_that_blinks_in_it_does_not_keep_it() -> None:
    moving = ScreenFilm()
    now = play(moving, FILM, seconds=2)
    now = play(moving, Rect(FILM.x, FILM.y, 10, 10), seconds=REST_S + 0.1, from_s=now)
    assert moving.area(now) is None


def test_a_stray_change_elsewhere_is_no_part_of_it() -> None:
    moving = ScreenFilm()
    clock = Rect(0, 0, 256, 16)
    now = play(moving, FILM, clock, seconds=3)
    assert moving.area(now) == FILM


def test_what_changes_now_and_then_is_no_film() -> None:
    moving = ScreenFilm()
    for n in range(30):
        moving.note(tiles.touched(SIZE, [FILM]), SIZE, n * 0.25)
        assert moving.area(n * 0.25) is None


def test_little_things_are_no_film() -> None:
    moving = ScreenFilm()
    now = play(moving, Rect(0, 0, (LEAST_TILES - 1) * TILE, TILE), seconds=3)
    assert moving.area(now) is None


def test_a_film_that_grows_gets_its_new_area_once_it_is_sure() -> None:
    moving = ScreenFilm()
    now = play(moving, FILM, seconds=2)
    whole = Rect(0, 0, *SIZE)
    now = play(moving, whole, seconds=0.5, from_s=now)
    assert moving.area(now) == FILM
    now = play(moving, whole, seconds=SETTLED_S, from_s=now)
    assert moving.area(now) == whole


def test_one_that_becomes_a_little_smaller_stays_where_it_is() -> None:
    moving = ScreenFilm()
    now = play(moving, FILM, seconds=2)
    now = play(moving, FILM._replace(height=FILM.height - 2 * TILE), seconds=4, from_s=now)
    assert moving.area(now) == FILM


def test_another_size_begins_anew() -> None:
    moving = ScreenFilm()
    now = play(moving, FILM, seconds=2)
    moving.note(tiles.empty_map(Size(800, 600)), Size(800, 600), now)
    assert moving.area(now) is None


def test_two_films_far_apart_are_one_at_a_time() -> None:
    moving = ScreenFilm()
    small, large = Rect(0, 0, 320, 256), Rect(1024, 512, 640, 512)
    now = play(moving, small, large, seconds=3)
    assert moving.area(now) == large


def test_an_odd_last_column_stays_outside() -> None:
    moving = ScreenFilm()
    size = Size(1367, 769)
    now = play(moving, Rect(0, 0, *size), seconds=2, size=size)
    assert moving.area(now) == Rect(0, 0, 1344, 768)


sizes = st.builds(Size, st.integers(1, 1500), st.integers(1, 900))
scripts = st.lists(
    st.tuples(st.builds(Rect, *(st.integers(0, n) for n in (1499, 899, 1500, 900))), st.integers(1, 60), st.booleans()),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=80)
@given(sizes, scripts)
def test_an_area_is_whole_tiles_inside_of_what_changed_of_late(size: Size, script) -> None:
    moving, now = ScreenFilm(), 0.0
    last = np.full(tiles.empty_map(size).shape, -np.inf)
    for rect, frames, rests in script:
        changed = tiles.touched(size, [rect])
        for _ in range(frames):
            now += FRAME_S
            moving.note(changed, size, now)
            last[changed] = now
            area = moving.area(now)
            if area is None:
                continue
            assert area.within(size)
            assert area.x % TILE == area.y % TILE == area.width % 2 == area.height % 2 == 0
            assert area.right % TILE == 0 or area.right == size.width
            assert area.bottom % TILE == 0 or area.bottom == size.height
            recent = last[tiles.cells(area)] > now - REST_S
            assert recent.size >= LEAST_TILES and 4 * recent.sum() >= recent.size
        if rests:
            now += REST_S + 0.001
            assert moving.area(now) is None


columns, rows = st.integers(0, 18), st.integers(0, 11)


@settings(deadline=None, max_examples=60)
@given(columns, rows, st.integers(4, 11), st.integers(3, 5), st.floats(8, 60))
def test_any_block_that_changes_at_a_film_s_pace_is_found_exactly(
    x: int, y: int, wide: int, high: int, fps: float
) -> None:
    moving, size = ScreenFilm(), Size(30 * TILE, 17 * TILE)
    block = Rect(x * TILE, y * TILE, wide * TILE, high * TILE)
    for n in range(int(1.5 * fps) + 2):
        moving.note(tiles.touched(size, [block]), size, n / fps)
    assert moving.area(n / fps) == block
