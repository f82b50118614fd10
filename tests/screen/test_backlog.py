from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen import tiles
from pommel.screen.backlog import MAX_PICTURE_PIXELS, REFINED_PIXELS, REST_S, Backlog, Round
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, total_area
from pommel.screen.tiles import Changes
from pommel.wire import messages as wire

SIZE = Size(640, 480)


def started(size: Size = SIZE) -> Backlog:
    backlog = Backlog(size)
    take(backlog, 0.0)
    return backlog


def take(backlog: Backlog, now_s: float, pixels: int | None = None) -> Round:
    """What is due, sent exactly."""
    serving = backlog.take(now_s, pixels)
    for area in serving.areas:
        backlog.sent_exactly(area, serving)
    return serving


def mark(backlog: Backlog, *rects: Rect) -> None:
    backlog.mark(Changes.throughout(tiles.touched(backlog.size, rects)), backlog.size, 0.0)


def test_a_new_viewer_gets_the_screen_and_everything() -> None:
    serving = Backlog(SIZE).take(0.0)
    assert serving.commands == (wire.Screen(640, 480),)
    assert total_area(serving.areas) == 640 * 480


def test_nothing_changed_nothing_due() -> None:
    assert started().due_in(99.0) is None


def test_areas_merge_and_are_given_once() -> None:
    backlog = started()
    mark(backlog, Rect(0, 0, 10, 10))
    mark(backlog, Rect(70, 5, 10, 10))
    assert take(backlog, 1.0).areas == (Rect(0, 0, 128, 64),)
    assert backlog.due_in(2.0) is None and take(backlog, 2.0).areas == ()


def test_the_frame_timer_spaces_pictures_and_a_first_change_waits_for_nothing() -> None:
    backlog = started()
    backlog.obey(wire.Compression(1, 50, 1024, 200))
    mark(backlog, Rect(0, 0, 1, 1))
    assert backlog.due_in(10.0) == 0.0
    take(backlog, 10.0)
    mark(backlog, Rect(0, 0, 1, 1))
    assert backlog.due_in(10.05) == pytest.approx(0.13)  # 20 ms early is allowed
    assert take(backlog, 10.05).areas == ()
    assert take(backlog, 10.2).areas


def test_commands_do_not_wait_for_the_frame_timer_and_the_newest_of_a_kind_is_sent() -> None:
    backlog = started()
    backlog.queue_command(wire.KeyState(1))
    backlog.queue_command(wire.KeyState(4))
    assert backlog.due_in(0.0) == 0.0
    assert take(backlog, 0.0).commands == (wire.KeyState(4),)


def test_pause_holds_pictures_back_and_loses_none() -> None:
    backlog = started()
    assert backlog.obey(wire.Pause(True))
    mark(backlog, Rect(0, 0, 1, 1))
    assert backlog.due_in(5.0) is None and take(backlog, 5.0).areas == ()
    backlog.obey(wire.Pause(False))
    assert take(backlog, 5.0).areas == (Rect(0, 0, 64, 64),)


def test_refresh_announces_again_and_gives_everything() -> None:
    backlog = started()
    era = backlog.era
    assert backlog.obey(wire.Refresh()) and backlog.era != era
    serving = take(backlog, 9.0)
    assert serving.commands == (wire.Screen(640, 480),) and total_area(serving.areas) == 640 * 480


def test_scaling_is_announced_and_kept_within_its_bounds() -> None:
    backlog = started()
    backlog.obey(wire.Compression(1, 50, 512, 50))
    assert take(backlog, 9.0).commands == (wire.Screen(320, 240),)
    assert backlog.announced.to_frame(319, 239) == (639, 479)
    backlog.obey(wire.Compression(1, 50, 1, 50))
    assert take(backlog, 19.0).commands == (wire.Screen(40, 30),)
    backlog.obey(wire.Compression(1, 50, 64, 50))  # the same picture: no news
    assert take(backlog, 29.0).commands == ()


def test_better_quality_is_sent_for_what_is_there_already_worse_is_not() -> None:
    backlog = started()
    backlog.obey(wire.Compression(1, 90))
    assert total_area(take(backlog, 9.0).areas) == 640 * 480
    backlog.obey(wire.Compression(1, 20))
    assert backlog.due_in(19.0) is None and backlog.grade.asked == 20


@pytest.mark.parametrize(("asked", "kept"), [(0, 1), (1, 1), (100, 100), (255, 100)])
def test_quality_is_kept_within_its_bounds(asked: int, kept: int) -> None:
    backlog = started()
    backlog.obey(wire.Compression(4, asked))
    assert backlog.grade.asked == kept


@pytest.mark.parametrize(("asked", "kept"), [(0, 20), (100, 100), (65535, 5000)])
def test_the_timer_is_kept_within_its_bounds(asked: int, kept: int) -> None:
    backlog = started()
    assert backlog.obey(wire.FrameRateTimer(asked)) and backlog.timer_ms == kept


def test_a_resize_announces_and_gives_everything() -> None:
    backlog = started()
    backlog.mark(Changes.throughout(tiles.empty_map(Size(800, 600))), Size(800, 600), 0.0)
    serving = take(backlog, 9.0)
    assert serving.commands == (wire.Screen(800, 600),) and total_area(serving.areas) == 800 * 600


def test_a_first_screen_of_960x701_is_made_news_for_meshcentrals_page() -> None:
    backlog = Backlog(Size(960, 701))
    assert take(backlog, 0.0).commands == (wire.Screen(960, 702), wire.Screen(960, 701))
    backlog.obey(wire.Refresh())
    assert take(backlog, 9.0).commands == (wire.Screen(960, 701),)


def test_what_was_not_sent_is_put_back() -> None:
    backlog = started(Size(1920, 1080))
    mark(backlog, Rect(0, 0, 1920, 1080))
    serving = take(backlog, 9.0)
    assert len(serving.areas) > 2 and all(area.area <= MAX_PICTURE_PIXELS for area in serving.areas)
    backlog.put_back(serving, serving.areas[-2:])
    assert total_area(take(backlog, 19.0).areas) == total_area(serving.areas[-2:])
    backlog.put_back(serving, ())
    assert backlog.due_in(29.0) is None


def test_areas_of_another_size_are_not_put_back() -> None:
    backlog = started(Size(1920, 1080))
    mark(backlog, Rect(0, 0, 1920, 1080))
    serving = take(backlog, 9.0)
    backlog.mark(Changes.throughout(tiles.empty_map(Size(64, 64))), Size(64, 64), 0.0)
    take(backlog, 19.0)
    backlog.put_back(serving, serving.areas)
    assert backlog.due_in(29.0) is None


def test_grown_pictures_are_cut_to_the_same_number_of_pixels() -> None:
    backlog = Backlog(Size(1280, 720))
    backlog.obey(wire.Compression(1, 50, 4096, 50))
    for area in take(backlog, 0.0).areas:
        cover = backlog.announced.cover(area)
        assert cover.area <= MAX_PICTURE_PIXELS


def test_input_is_none_of_its_business() -> None:
    assert not started().obey(wire.Key(65, True))


def test_one_round_takes_it_all_however_much_was_marked() -> None:
    backlog = started()
    for _ in range(1000):
        mark(backlog, Rect(0, 0, 640, 480))
        backlog.queue_command(wire.MouseCursor(wire.CursorShape.ARROW))
    serving = take(backlog, 9.0)
    assert len(serving.commands) == 1 and serving.areas == (Rect(0, 0, 640, 480),)
    assert backlog.due_in(19.0) is None


# --- what the pointer looks like ---

UNKNOWN_POINTER = wire.Pointer(0, 0, 0, 0, b"")


def pointer(n: int) -> wire.Pointer:
    return wire.Pointer(1, 1, 0, 0, bytes((n, n, n, 255)))


def test_of_pointers_the_newest_is_told_and_only_to_who_shows_it() -> None:
    shows, does_not = started(), started()
    shows.obey(wire.Abilities(wire.ACKNOWLEDGES | wire.SHOWS_POINTER))
    does_not.obey(wire.Abilities(0xFFFF & ~wire.SHOWS_POINTER & ~wire.ASKS_OF_MOUSE))
    for backlog in (shows, does_not):
        take(backlog, 1.0)
        for n in range(200):
            backlog.queue_command(pointer(n))
    assert shows.due_in(2.0) == 0.0 and not shows.is_shown
    assert shows.take(2.0).commands == (pointer(199),)
    assert shows.due_in(2.0) is None and shows.is_shown and shows.take(3.0).commands == ()
    assert does_not.due_in(2.0) is None and does_not.is_shown and does_not.take(2.0).commands == ()


def test_who_says_later_that_it_shows_pointers_is_told_the_newest_then() -> None:
    backlog = started()
    backlog.queue_command(UNKNOWN_POINTER)
    backlog.queue_command(wire.MouseCursor(wire.CursorShape.NONE))
    assert backlog.take(1.0).commands == (wire.MouseCursor(wire.CursorShape.NONE),)
    backlog.queue_command(pointer(7))
    backlog.obey(wire.Abilities(wire.SHOWS_POINTER))
    assert backlog.due_in(2.0) == 0.0 and backlog.take(2.0).commands == (pointer(7),)
    backlog.obey(wire.Abilities(wire.SHOWS_POINTER | wire.ACKNOWLEDGES))
    assert backlog.take(3.0).commands == ()
    backlog.obey(wire.Abilities(0))
    backlog.queue_command(pointer(8))
    assert backlog.take(4.0).commands == ()
    backlog.obey(wire.Abilities(wire.SHOWS_POINTER))
    assert backlog.take(5.0).commands == (pointer(8),)


def test_a_scaled_picture_has_the_pointer_as_it_is() -> None:
    backlog = started()
    backlog.obey(wire.Abilities(wire.SHOWS_POINTER))
    backlog.obey(wire.Compression(1, 50, 512, 20))
    backlog.queue_command(pointer(1))
    assert take(backlog, 1.0).commands == (wire.Screen(320, 240), pointer(1))


# --- rounds in several servings ---


def test_a_round_is_taken_in_servings_of_about_so_many_pixels() -> None:
    backlog = started(Size(1920, 1080))
    mark(backlog, Rect(0, 0, 1920, 1080))
    taken: list[Rect] = []
    while backlog.due_in(1.0) == 0.0:
        areas = take(backlog, 1.0, 200_000).areas
        assert 0 < total_area(areas) < 200_000 + 1920 * 64
        taken += areas
    assert len(taken) > 8 and total_area(taken) == 1920 * 1080
    assert len({(area.x, area.y) for area in taken}) == len(taken)
    assert backlog.due_in(9.0) is None


def test_what_changes_before_its_turn_is_taken_once_and_after_it_again() -> None:
    backlog = started()
    mark(backlog, Rect(0, 0, 640, 480))
    first = take(backlog, 1.0, 1).areas
    mark(backlog, Rect(0, 0, 640, 480))
    rest = []
    while areas := take(backlog, 1.001, 640 * 64).areas:
        rest += areas
        if sum(area.area for area in rest) + total_area(first) == 640 * 480:
            break
    assert backlog.due_in(9.0) == 0.0  # only what had had its turn
    assert total_area(take(backlog, 9.0).areas) == total_area(first)


def test_a_round_in_progress_does_not_wait_for_the_frame_timer() -> None:
    backlog = started()
    backlog.obey(wire.FrameRateTimer(5000))
    mark(backlog, Rect(0, 0, 640, 480))
    take(backlog, 1.0, 1)
    assert backlog.due_in(1.0) == 0.0


def test_two_changes_close_together_are_two_rounds_and_a_third_waits() -> None:
    backlog = started()
    for now_s in (1.0, 1.003):
        mark(backlog, Rect(0, 0, 1, 1))
        assert backlog.due_in(now_s) == 0.0 and take(backlog, now_s).areas
    mark(backlog, Rect(0, 0, 1, 1))
    assert backlog.due_in(1.006) == pytest.approx(0.014)


def test_what_is_put_back_belongs_to_the_same_round() -> None:
    backlog = started()
    backlog.obey(wire.FrameRateTimer(5000))
    mark(backlog, Rect(0, 0, 640, 480))
    serving = backlog.take(1.0)
    backlog.put_back(serving, serving.areas)
    assert backlog.due_in(1.0) == 0.0


# --- rest ---


def rough(quality: int = 50) -> Backlog:
    backlog = started()
    backlog.obey(wire.Compression(1, quality))
    take(backlog, 1.0)
    backlog.mark(Changes.throughout(tiles.touched(SIZE, [Rect(0, 0, 100, 100)])), SIZE, 2.0)
    backlog.take(2.0)  # and it is not said to be fine
    return backlog


def test_what_rests_is_taken_again_for_best_and_once() -> None:
    backlog = rough()
    assert backlog.is_shown and backlog.due_in(2.1) == pytest.approx(REST_S - 0.1)
    assert backlog.take(2.1).areas == ()
    serving = backlog.take(2.0 + REST_S)
    assert serving.areas == (Rect(0, 0, 128, 128),) and serving.style.best and serving.style.quality == 50
    assert backlog.due_in(99.0) is None
    backlog.put_back(serving, serving.areas)
    assert backlog.take(3.0).style.best


def test_refinement_is_taken_little_by_little() -> None:
    backlog = Backlog(Size(1920, 1080))
    backlog.take(0.0)
    areas: list[Rect] = []
    while serving := backlog.take(5.0).areas:
        assert total_area(serving) <= REFINED_PIXELS
        areas += serving
    assert total_area(areas) == 1920 * 1080


def test_a_change_comes_before_refinement_and_makes_it_wait() -> None:
    backlog = rough()
    backlog.mark(Changes.throughout(tiles.touched(SIZE, [Rect(300, 300, 1, 1)])), SIZE, 2.2)
    serving = backlog.take(9.0)
    assert not serving.style.best and serving.areas == (Rect(256, 256, 64, 64),)


@pytest.mark.parametrize(
    ("quality", "bits", "refined"),
    [
        (29, 0, False), (30, 0, True), (1, wire.ACKNOWLEDGES, True),
        (29, wire.WANTS_BLOCKS | wire.ACKNOWLEDGES, False), (30, wire.WANTS_BLOCKS | wire.ACKNOWLEDGES, True),
    ],
)  # fmt: skip
def test_who_wants_few_bytes_is_not_refined_for(quality: int, bits: int, refined: bool) -> None:
    backlog = started()
    backlog.obey(wire.Abilities(bits))
    backlog.obey(wire.Compression(1, quality))
    backlog.mark(Changes.throughout(tiles.touched(SIZE, [Rect(0, 0, 100, 100)])), SIZE, 2.0)
    backlog.take(2.0)
    assert (backlog.due_in(9.0) is not None) == refined


def test_bytes_count_more_than_time_only_for_who_is_held_up() -> None:
    backlog = started()
    mark(backlog, Rect(0, 0, 640, 480))
    assert not backlog.take(1.0, 1, tight=True).style.tight
    backlog.grade.held_up(1.2)
    style = backlog.take(1.2, 1, tight=True).style
    assert style.tight and style.quality < 50
    assert not backlog.take(1.2, 1).style.tight


# --- what is sent ends where the change ends ---


def change(backlog: Backlog, *rects: Rect, now_s: float = 0.0) -> None:
    backlog.mark(Changes.inside(rects, backlog.size), backlog.size, now_s)


def test_what_is_clean_at_the_edges_is_not_sent() -> None:
    backlog = started()
    change(backlog, Rect(70, 130, 20, 15), Rect(300, 270, 320, 180))
    assert take(backlog, 1.0).areas == (Rect(70, 130, 20, 15), Rect(300, 270, 320, 180))
    assert backlog.is_shown and not backlog.take(9.0).areas


def test_two_changes_of_one_tile_are_sent_with_all_that_is_between_them() -> None:
    backlog = started()
    change(backlog, Rect(1, 2, 3, 4))
    change(backlog, Rect(40, 30, 20, 20))
    assert backlog.take(1.0).areas == (Rect(1, 2, 59, 48),)


def test_what_was_sent_before_is_not_sent_along_but_what_could_not_be_is_sent_again() -> None:
    backlog = started()
    change(backlog, Rect(1, 2, 3, 4))
    lost = backlog.take(1.0)
    change(backlog, Rect(40, 30, 20, 20))
    backlog.put_back(lost, lost.areas)
    again = backlog.take(2.0)
    assert all(any(area.contains(rect) for area in again.areas) for rect in (*lost.areas, Rect(40, 30, 20, 20)))
    change(backlog, Rect(5, 5, 2, 2))
    assert backlog.take(3.0).areas == (Rect(5, 5, 2, 2),)


def test_a_part_that_was_sent_exactly_does_not_make_its_tile_exact() -> None:
    backlog = started()
    change(backlog, Rect(0, 0, 64, 64))
    backlog.take(1.0)  # not exactly
    change(backlog, Rect(10, 10, 8, 8))
    take(backlog, 2.0)
    refined = backlog.take(2.0 + REST_S + 0.01)
    assert refined.style.best and refined.areas == (Rect(0, 0, 64, 64),)
    change(backlog, Rect(10, 10, 8, 8), now_s=3.0)
    take(backlog, 4.0)
    assert backlog.due_in(9.0) is None  # what was exact around it still is


small = Size(200, 150)
boxes = st.builds(Rect, st.integers(0, 199), st.integers(0, 149), st.integers(1, 200), st.integers(1, 150))
works = st.lists(
    st.one_of(
        st.tuples(st.just("draw"), boxes),
        st.tuples(st.just("send"), st.sampled_from([None, 1, 4096, 9000])),
        st.tuples(st.just("fail"), st.integers(1, 4)),
        st.tuples(st.just("better"), st.integers(51, 99)),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=200)
@given(works)
def test_whatever_is_drawn_and_sent_the_viewer_ends_with_every_pixel(script) -> None:
    screen, seen, backlog, now = np.zeros((150, 200), np.int64), np.full((150, 200), -1), Backlog(small), 0.0
    for number, (what, how) in enumerate([*script, ("end", 0)], 1):
        now += 0.1
        if what == "draw":
            before, part = Frame.blank(small), how.clipped(small)
            after = before.copy()
            screen[part.y : part.bottom, part.x : part.right] = number
            after.view(part)[:] = 1
            backlog.mark(tiles.changed(before, after, ~tiles.empty_map(small)), small, now)
        elif what == "better":
            backlog.obey(wire.Compression(1, how, 1024, 20))
        while what in ("send", "fail", "end") and not backlog.is_shown:
            serving = backlog.take(now, how if what == "send" else None)
            sent = max(len(serving.areas) - how, 0) if what == "fail" else len(serving.areas)
            for area in serving.areas[:sent]:
                box = np.s_[area.y : area.bottom, area.x : area.right]
                seen[box] = screen[box]
            backlog.put_back(serving, serving.areas[sent:])
            now += 0.1
            if what != "end":
                break
    assert (seen == screen).all()
