"""What moved on drawn screens is found, and what is sent besides makes the picture exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen import tiles
from pommel.screen.actions import MovePointer, PressKey, TurnWheel
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, total_area, whole
from pommel.screen.move_search import MovedArea, find_moves
from pommel.screen.moves import MoveFinder, joined_copies, make, rest_of, take_moved
from pommel.screen.tiles import Changes

SIZE = Size(1024, 768)
EVERYWHERE = ~tiles.empty_map(SIZE)
PAPER, INK = 250, 30


def text(size: Size, seed: int = 1) -> Frame:
    """Lines of words as bars, with blank lines between them."""
    frame, chance = Frame.blank(size), np.random.default_rng(seed)
    frame.pixels[:] = PAPER
    for y in range(4, size.height - 12, 20):
        x = 10
        while x < size.width - 20:
            width = int(chance.integers(8, 60))
            marks = chance.integers(0, 2, (12, width), np.uint8) * (PAPER - INK)
            part = frame.pixels[y : y + 12, x : min(x + width, size.width - 10)]
            part[:] = (PAPER - marks)[:, : part.shape[1], None]
            x += width + 8
    return frame


def scrolled(frame: Frame, area: Rect, page: Frame, x: int, y: int) -> Frame:
    """Return `frame` with `area` showing `page` from x, y on."""
    after = frame.copy()
    after.view(area)[:] = page.view(Rect(x, y, area.width, area.height))
    return after


def sent(old: Frame, new: Frame, moves: tuple[MovedArea, ...]) -> int:
    """Return how many pixels are to be sent besides `moves`; the picture is exact then."""
    rest = rest_of(old, new, moves, tiles.changed(old, new, EVERYWHERE)).rest
    shown = old.copy()
    make(moves, shown)
    areas = [tiles.trimmed(rect, rest.clean) for rect in tiles.rects(rest.tiles, SIZE)]
    for area in areas:
        shown.view(area)[:] = new.view(area)
    assert np.array_equal(shown.pixels, new.pixels)
    return total_area(areas)


def found(old: Frame, new: Frame) -> tuple[MovedArea, ...]:
    finder = MoveFinder()
    finder.wanted = True
    assert finder.is_due(EVERYWHERE)
    return finder.search(old, new, EVERYWHERE)


ALL = SIZE.width * SIZE.height
LONG = Size(SIZE.width + 400, 3 * SIZE.height)


@pytest.mark.parametrize("step", [1, -1, 7, 12, -53, 200, -300])
def test_a_whole_screen_scrolled_up_or_down_by_any_number_of_pixels(step: int) -> None:
    page = text(LONG)
    old, new = (scrolled(Frame.blank(SIZE), whole(SIZE), page, 0, y) for y in (600, 600 + step))
    (move,) = moves = found(old, new)
    assert (move.dx, move.dy) == (0, -step)
    assert sent(old, new, moves) < SIZE.width * (abs(step) + 80)


@pytest.mark.parametrize("step", [3, -16, 90])
def test_a_table_scrolled_sideways(step: int) -> None:
    page = text(LONG)
    old, new = (scrolled(Frame.blank(SIZE), whole(SIZE), page, x, 0) for x in (200, 200 + step))
    (move,) = moves = found(old, new)
    assert (move.dx, move.dy) == (-step, 0)
    assert sent(old, new, moves) < SIZE.height * (abs(step) + 80)


def test_a_pane_on_no_grid_under_a_header_beside_a_scroll_bar() -> None:
    page, desk, pane = text(LONG), text(SIZE, 2), Rect(277, 71, 601, 640)
    old, new = (scrolled(desk, pane, page, 0, y) for y in (100, 160))
    old.view(Rect(900, 80, 12, 100))[:] = 90
    new.view(Rect(900, 92, 12, 100))[:] = 90
    (move,) = moves = found(old, new)
    assert abs(move.target.x - pane.x) <= 16 and abs(move.target.right - pane.right) <= 24  # its margins are blank
    assert sent(old, new, moves) < ALL // 10


def test_two_panes_that_scroll_opposite_ways() -> None:
    page, left, right = text(LONG), Rect(10, 50, 440, 700), Rect(530, 50, 480, 700)
    base = text(SIZE, 3)
    old = scrolled(scrolled(base, left, page, 0, 100), right, page, 300, 600)
    new = scrolled(scrolled(base, left, page, 0, 108), right, page, 300, 580)
    moves = found(old, new)
    assert sorted(move.dy for move in moves) == [-8, 20]
    assert sent(old, new, moves) < ALL // 12


def test_rows_that_are_all_alike() -> None:
    row = text(Size(SIZE.width, 24), 5).pixels
    page = Frame(np.tile(row, (60, 1, 1)))
    old, new = (scrolled(Frame.blank(SIZE), whole(SIZE), page, 0, y) for y in (0, 12))
    moves = found(old, new)
    assert moves and sent(old, new, moves) < ALL // 10


def test_a_pointer_and_a_caret_over_what_moves_are_sent_besides() -> None:
    page = text(LONG)
    old, new = (scrolled(Frame.blank(SIZE), whole(SIZE), page, 0, y) for y in (600, 640))
    for frame in (old, new):
        frame.view(Rect(500, 300, 12, 19))[:] = 0
    moves = found(old, new)
    assert moves and sent(old, new, moves) < ALL // 6


def test_where_nothing_moved_nothing_is_found() -> None:
    chance = np.random.default_rng(4)
    noise = [Frame(chance.integers(0, 256, (SIZE.height, SIZE.width, 4), np.uint8)) for _ in range(2)]
    assert found(*noise) == ()
    plain = [Frame(np.full((SIZE.height, SIZE.width, 4), grey, np.uint8)) for grey in (40, 90)]
    assert found(*plain) == ()
    assert found(text(SIZE), text(SIZE, 9)) == ()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 300), st.integers(1, 300), st.integers(0, 40), st.integers(-30, 30), st.integers(-30, 30),
    st.integers(0, 99),
)  # fmt: skip
def test_of_pictures_of_any_size_whatever_is_found_lies_inside_and_leaves_the_rest(
    width: int, height: int, shades: int, dx: int, dy: int, seed: int
) -> None:
    old = np.random.default_rng(seed).integers(0, shades + 1, (height, width), np.uint32)
    new = np.roll(old, (dy, dx), (0, 1))
    for move in find_moves(old, new):
        assert move.target.within(Size(width, height)) and move.source.within(Size(width, height))
        assert (move.dx, move.dy) != (0, 0) and move.target.area


def test_taken_over_and_compared_are_the_same() -> None:
    page = text(LONG)
    old, new = (scrolled(Frame.blank(SIZE), whole(SIZE), page, 0, y) for y in (0, 30))
    moves = found(old, new)
    changed = tiles.changed(old, new, EVERYWHERE)
    compared, taken = rest_of(old, new, moves, changed), take_moved(old, new, moves, changed.tiles)
    assert np.array_equal(old.pixels, new.pixels)
    assert np.array_equal(compared.rest.tiles, taken.rest.tiles)
    assert (taken.changes(SIZE).tiles >= changed.tiles).all()


# --- when to look ---


def misses(count: int) -> MoveFinder:
    finder = MoveFinder()
    finder.wanted = True
    chance = np.random.default_rng(4)
    old, new = (Frame(chance.integers(0, 256, (SIZE.height, SIZE.width, 4), np.uint8)) for _ in range(2))
    for _ in range(count):
        while not finder.is_due(EVERYWHERE):
            pass
        finder.search(old, new, EVERYWHERE)
    return finder


def passed(finder: MoveFinder) -> int:
    """How many changes pass before the next search."""
    return next(count for count in range(99) if finder.is_due(EVERYWHERE))


def test_nobody_looks_for_nobody_or_at_little() -> None:
    finder = MoveFinder()
    assert not finder.is_due(EVERYWHERE)
    finder.wanted = True
    assert not finder.is_due(tiles.touched(SIZE, [Rect(0, 0, 15 * 64, 64)]))
    assert finder.is_due(tiles.touched(SIZE, [Rect(0, 0, 16 * 64, 64)]))


def test_after_each_miss_more_changes_pass() -> None:
    assert [passed(misses(count)) for count in (0, 1, 2, 3, 4, 9)] == [0, 1, 2, 4, 8, 32]


@pytest.mark.parametrize("action", [TurnWheel(5, 5, 0, 120), PressKey(0x22, True, True), MovePointer(5, 5, 1)])
def test_after_input_that_may_scroll_it_is_looked_at_once(action) -> None:
    finder = misses(9)
    for _ in range(20):
        assert not finder.is_due(EVERYWHERE)
    finder.expect(action)
    assert passed(finder) == 0


@pytest.mark.parametrize("action", [PressKey(0x41, False, True), PressKey(0x22, True, False), MovePointer(5, 5, 0)])
def test_other_input_changes_nothing(action) -> None:
    finder = misses(9)
    finder.expect(action)
    assert passed(finder) == 32


def test_a_drag_that_moves_nothing_is_not_searched_at_each_movement() -> None:
    finder = misses(9)
    finder.expect(MovePointer(5, 5, 1))
    assert passed(finder) > 10


def test_what_is_found_ends_the_waiting() -> None:
    finder, page = misses(3), text(LONG)
    while not finder.is_due(EVERYWHERE):
        pass
    old, new = (scrolled(Frame.blank(SIZE), whole(SIZE), page, 0, y) for y in (0, 30))
    assert finder.search(old, new, EVERYWHERE)
    assert passed(finder) == 0


def test_all_that_changed_is_told_to_who_takes_no_moves() -> None:
    page = text(LONG)
    old, new = (scrolled(Frame.blank(SIZE), whole(SIZE), page, 0, y) for y in (0, 30))
    moved = rest_of(old, new, found(old, new), tiles.changed(old, new, EVERYWHERE))
    told: Changes = moved.changes(SIZE)
    areas = [tiles.trimmed(rect, told.clean) for rect in tiles.rects(told.tiles, SIZE)]
    shown = old.copy()
    for area in areas:
        shown.view(area)[:] = new.view(area)
    assert np.array_equal(shown.pixels, new.pixels)


# --- what a VNC server says that it copied ---

UP = MovedArea(Rect(0, 0, 1024, 748), 0, -20)


@pytest.mark.parametrize(
    ("copies", "moves"),
    [
        ([UP], (UP,)),
        ([UP, UP, UP], (UP._replace(target=Rect(0, 0, 1024, 708), dy=-60),)),
        ([UP, UP._replace(dy=20)], (UP._replace(dy=0),)),  # up and down again
        ([UP] * 40, ()),  # nothing of it is left
        ([MovedArea(Rect(0, 0, 64, 64), 0, 9)] * 2, ()),  # smaller than what is worth a move
        ([UP._replace(target=UP.target._replace(width=1024 - n)) for n in range(5)], ()),
    ],
)
def test_copies_of_a_server_are_a_few_large_moves(copies: list[MovedArea], moves: tuple[MovedArea, ...]) -> None:
    assert joined_copies(copies, SIZE) == moves


def test_joined_copies_leave_what_single_ones_leave() -> None:
    page, old = text(Size(1024, 2000), seed=3), text(SIZE)
    area, new = Rect(100, 50, 800, 600), old
    for step in range(4):
        new = scrolled(new, area, page, 100, 20 * step)
    before, after = scrolled(old, area, page, 100, 0), new
    copies = [MovedArea(area._replace(height=580), 0, -20)] * 3
    assert sent(before, after, joined_copies(copies, SIZE)) <= 800 * 64 * 2
