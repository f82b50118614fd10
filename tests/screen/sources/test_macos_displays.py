from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.sources.macos_displays import DisplayLayout, MacDisplay, damage_of
from pommel.wire.messages import ALL_DISPLAYS

RETINA = MacDisplay(1, 0, 0, 100, 80, 2)
BESIDE = MacDisplay(7, 100, -20, 60, 40, 1)

sides = st.integers(1, 400)
places = st.integers(-500, 500)
displays = st.lists(
    st.builds(MacDisplay, st.integers(1, 99), places, places, sides, sides, st.sampled_from([1.0, 2.0])),
    min_size=1, max_size=4, unique_by=lambda one: one.id,
)  # fmt: skip


def test_one_retina_display_is_shown_in_pixels() -> None:
    view = DisplayLayout().changed([RETINA]).view
    assert (view.size, view.scale) == (Size(200, 160), 2)
    assert view.place(RETINA) == Rect(0, 0, 200, 160)
    assert view.to_points(199, 11) == (99.5, 5.5)


def test_a_plain_display_beside_a_retina_one_is_enlarged() -> None:
    layout = DisplayLayout().changed([RETINA, BESIDE])
    assert layout.view.size == Size(320, 200)
    assert layout.view.place(RETINA) == Rect(0, 40, 200, 160)
    assert layout.view.place(BESIDE) == Rect(200, 0, 120, 80)
    assert layout.view.to_points(200, 0) == (100, -20)
    assert [(one.id, one.x, one.y, one.width) for one in layout.viewer_displays.all] == [
        (1, 0, 40, 200),
        (2, 200, 0, 120),
    ]
    assert layout.viewer_displays.selected == ALL_DISPLAYS


def test_alone_it_is_shown_as_it_is() -> None:
    layout = DisplayLayout().changed([RETINA, BESIDE]).choose(2)
    assert (layout.view.size, layout.view.scale) == (Size(60, 40), 1)
    assert layout.view.to_points(0, 0) == (100, -20)
    assert layout.viewer_displays.selected == 2


def test_a_chosen_display_stays_chosen_when_its_number_changes() -> None:
    layout = DisplayLayout().changed([RETINA, BESIDE]).choose(2).changed([BESIDE, RETINA])
    assert (layout.view.displays, layout.viewer_displays.selected) == ((BESIDE,), 1)


def test_all_is_shown_once_the_chosen_display_has_gone() -> None:
    layout = DisplayLayout().changed([RETINA, BESIDE]).choose(2).changed([RETINA])
    assert layout.view.displays == (RETINA,)
    assert layout.viewer_displays.all == ()


def test_no_such_display_is_all_of_them() -> None:
    assert len(DisplayLayout().changed([RETINA, BESIDE]).choose(9).view.displays) == 2


def test_no_display_is_no_picture() -> None:
    assert DisplayLayout().changed([]).view.size == Size(0, 0)
    assert DisplayLayout().changed([MacDisplay(1, 0, 0, 0, 80)]).view.size == Size(0, 0)


def test_what_would_be_too_large_is_shown_point_by_point() -> None:
    wall = [MacDisplay(number, number * 2880, 0, 2880, 1620, 2) for number in range(4)]
    assert DisplayLayout().changed(wall).view.size == Size(4 * 2880, 1620)


@given(displays)
def test_every_display_is_inside_the_picture_and_every_pixel_inside_the_desktop(found: list[MacDisplay]) -> None:
    view = DisplayLayout().changed(found).view
    assert all(view.place(one).within(view.size) and view.place(one).area for one in found)
    for x, y in ((0, 0), (view.size.width - 1, view.size.height - 1), (10**6, -5)):
        left, top = view.to_points(x, y)
        assert min(one.x for one in found) <= left < max(one.x + one.width for one in found)
        assert min(one.y for one in found) <= top < max(one.y + one.height for one in found)


@given(displays)
def test_a_displays_corner_is_its_corner_in_points(found: list[MacDisplay]) -> None:
    view = DisplayLayout().changed(found).view
    for one in found:
        place = view.place(one)
        assert view.to_points(place.x, place.y) == (one.x, one.y)


floats = st.floats(-1e4, 1e4)
lengths = st.floats(0, 1e4)


@given(st.lists(st.tuples(floats, floats, lengths, lengths), max_size=5), st.sampled_from([1.0, 2.0]))
def test_damage_is_inside_and_holds_either_reading(
    rects: list[tuple[float, float, float, float]], scale: float
) -> None:
    size = Size(300, 200)
    found = damage_of(rects, scale, size)
    assert all(rect.area and rect.within(size) for rect in found)
    for x, y, width, height in rects:
        for times in (1.0, scale):
            middle = int((x + width / 2) * times), int((y + height / 2) * times)
            inside = Rect(*middle, 1, 1).within(size) and width * times >= 2 and height * times >= 2
            covers = [r for r in found if r.x <= middle[0] < r.right and r.y <= middle[1] < r.bottom]
            assert covers or not inside


def test_damage_is_rounded_outward() -> None:
    assert damage_of([(3.5, 6.5, 1.0, 1.0)], 1, Size(20, 20)) == (Rect(3, 6, 2, 2),)
    assert damage_of([(-5, -5, 500, 500)], 2, Size(20, 20)) == (whole(Size(20, 20)),)
