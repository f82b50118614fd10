from __future__ import annotations

from pommel.screen.geometry import Rect, Size
from pommel.screen.seams import Displays
from pommel.screen.sources.x11_displays import Monitor, X11Desktop
from pommel.wire.messages import ALL_DISPLAYS, Display

SIZE = Size(300, 100)
LEFT, RIGHT = Monitor("left", Rect(0, 0, 100, 100)), Monitor("right", Rect(100, 0, 200, 100))


def test_one_display_is_no_choice() -> None:
    desktop = X11Desktop(SIZE).changed(SIZE, [LEFT])
    assert desktop.displays == Displays() and desktop.view == Rect(0, 0, 300, 100)


def test_the_chosen_one_is_looked_at_and_followed_by_name() -> None:
    desktop = X11Desktop(SIZE).changed(SIZE, [LEFT, RIGHT]).choose(2)
    assert desktop.view == RIGHT.place
    assert desktop.displays == Displays((Display(1, 0, 0, 100, 100), Display(2, 100, 0, 200, 100)), 2)
    desktop = desktop.changed(SIZE, [RIGHT, LEFT])
    assert desktop.view == RIGHT.place and desktop.displays.selected == 1


def test_what_is_not_there_means_everything() -> None:
    desktop = X11Desktop(SIZE).changed(SIZE, [LEFT, RIGHT])
    for number in (0, 3, ALL_DISPLAYS):
        assert desktop.choose(1).choose(number).view == Rect(0, 0, 300, 100)
    assert desktop.choose(2).changed(SIZE, [LEFT]).view == Rect(0, 0, 300, 100)


def test_a_monitor_outside_the_root_window_is_none() -> None:
    desktop = X11Desktop(SIZE).changed(Size(200, 100), [LEFT, RIGHT]).choose(2)
    assert desktop.monitors == (LEFT,) and desktop.view == Rect(0, 0, 200, 100)
