from __future__ import annotations

import pytest

from pommel.screen import tiles
from pommel.screen.backlog import MAX_PICTURE_PIXELS, Backlog
from pommel.screen.geometry import Rect, Size, total_area
from pommel.wire import messages as wire

SIZE = Size(640, 480)


def started(size: Size = SIZE) -> Backlog:
    backlog = Backlog(size)
    backlog.take(0.0)
    return backlog


def mark(backlog: Backlog, *rects: Rect) -> None:
    backlog.mark(tiles.touched(backlog.size, rects), backlog.size)


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
    assert backlog.take(1.0).areas == (Rect(0, 0, 128, 64),)
    assert backlog.due_in(2.0) is None and backlog.take(2.0).areas == ()


def test_the_frame_timer_spaces_pictures_and_a_first_change_waits_for_nothing() -> None:
    backlog = started()
    backlog.obey(wire.Compression(1, 50, 1024, 200))
    mark(backlog, Rect(0, 0, 1, 1))
    assert backlog.due_in(10.0) == 0.0
    backlog.take(10.0)
    mark(backlog, Rect(0, 0, 1, 1))
    assert backlog.due_in(10.05) == pytest.approx(0.15)
    assert backlog.take(10.05).areas == ()
    assert backlog.take(10.2).areas


def test_commands_do_not_wait_for_the_frame_timer_and_the_newest_of_a_kind_is_sent() -> None:
    backlog = started()
    backlog.say(wire.KeyState(1))
    backlog.say(wire.KeyState(4))
    assert backlog.due_in(0.0) == 0.0
    assert backlog.take(0.0).commands == (wire.KeyState(4),)


def test_pause_holds_pictures_back_and_loses_none() -> None:
    backlog = started()
    assert backlog.obey(wire.Pause(True))
    mark(backlog, Rect(0, 0, 1, 1))
    assert backlog.due_in(5.0) is None and backlog.take(5.0).areas == ()
    backlog.obey(wire.Pause(False))
    assert backlog.take(5.0).areas == (Rect(0, 0, 64, 64),)


def test_refresh_announces_again_and_gives_everything() -> None:
    backlog = started()
    era = backlog.era
    assert backlog.obey(wire.Refresh()) and backlog.era != era
    serving = backlog.take(9.0)
    assert serving.commands == (wire.Screen(640, 480),) and total_area(serving.areas) == 640 * 480


def test_scaling_is_announced_and_kept_within_its_bounds() -> None:
    backlog = started()
    backlog.obey(wire.Compression(1, 50, 512, 50))
    assert backlog.take(9.0).commands == (wire.Screen(320, 240),)
    assert backlog.announced.to_frame(319, 239) == (639, 479)
    backlog.obey(wire.Compression(1, 50, 1, 50))
    assert backlog.take(19.0).commands == (wire.Screen(40, 30),)
    backlog.obey(wire.Compression(1, 50, 64, 50))  # the same picture: no news
    assert backlog.take(29.0).commands == ()


def test_better_quality_is_sent_for_what_is_there_already_worse_is_not() -> None:
    backlog = started()
    backlog.obey(wire.Compression(1, 90))
    assert total_area(backlog.take(9.0).areas) == 640 * 480
    backlog.obey(wire.Compression(1, 20))
    assert backlog.due_in(19.0) is None and backlog.quality == 20


@pytest.mark.parametrize(("asked", "kept"), [(0, 1), (1, 1), (100, 100), (255, 100)])
def test_quality_is_kept_within_its_bounds(asked: int, kept: int) -> None:
    backlog = started()
    backlog.obey(wire.Compression(4, asked))
    assert backlog.quality == kept


@pytest.mark.parametrize(("asked", "kept"), [(0, 20), (100, 100), (65535, 5000)])
def test_the_timer_is_kept_within_its_bounds(asked: int, kept: int) -> None:
    backlog = started()
    assert backlog.obey(wire.FrameRateTimer(asked)) and backlog.timer_ms == kept


def test_a_resize_announces_and_gives_everything() -> None:
    backlog = started()
    backlog.mark(tiles.empty_map(Size(800, 600)), Size(800, 600))
    serving = backlog.take(9.0)
    assert serving.commands == (wire.Screen(800, 600),) and total_area(serving.areas) == 800 * 600


def test_a_first_screen_of_960x701_is_made_news_for_meshcentrals_page() -> None:
    backlog = Backlog(Size(960, 701))
    assert backlog.take(0.0).commands == (wire.Screen(960, 702), wire.Screen(960, 701))
    backlog.obey(wire.Refresh())
    assert backlog.take(9.0).commands == (wire.Screen(960, 701),)


def test_what_was_not_sent_is_put_back() -> None:
    backlog = started(Size(1920, 1080))
    mark(backlog, Rect(0, 0, 1920, 1080))
    serving = backlog.take(9.0)
    assert len(serving.areas) > 2 and all(area.area <= MAX_PICTURE_PIXELS for area in serving.areas)
    backlog.put_back(serving, 2)
    assert total_area(backlog.take(19.0).areas) == total_area(serving.areas[-2:])
    backlog.put_back(serving, 0)
    assert backlog.due_in(29.0) is None


def test_areas_of_another_size_are_not_put_back() -> None:
    backlog = started(Size(1920, 1080))
    mark(backlog, Rect(0, 0, 1920, 1080))
    serving = backlog.take(9.0)
    backlog.mark(tiles.empty_map(Size(64, 64)), Size(64, 64))
    backlog.take(19.0)
    backlog.put_back(serving, len(serving.areas))
    assert backlog.due_in(29.0) is None


def test_grown_pictures_are_cut_to_the_same_number_of_pixels() -> None:
    backlog = Backlog(Size(1280, 720))
    backlog.obey(wire.Compression(1, 50, 4096, 50))
    for area in backlog.take(0.0).areas:
        cover = backlog.announced.cover(area)
        assert cover.area <= MAX_PICTURE_PIXELS


def test_input_is_none_of_its_business() -> None:
    assert not started().obey(wire.Key(65, True))


def test_one_round_takes_it_all_however_much_was_marked() -> None:
    backlog = started()
    for _ in range(1000):
        mark(backlog, Rect(0, 0, 640, 480))
        backlog.say(wire.MouseCursor(wire.CursorShape.ARROW))
    serving = backlog.take(9.0)
    assert len(serving.commands) == 1 and serving.areas == (Rect(0, 0, 640, 480),)
    assert backlog.due_in(19.0) is None
