from __future__ import annotations

from pommel.screen.sources.x11_server import is_xwayland
from pommel.screen.sources.x11_shapes import shape_of
from pommel.wire.messages import CursorShape


def test_xwayland_is_known_by_its_extension_or_its_outputs() -> None:
    assert is_xwayland(["RANDR", "XWAYLAND"], ["DP-1"])
    assert is_xwayland(["RANDR"], ["XWAYLAND0"])
    assert not is_xwayland(["RANDR", "MIT-SHM"], ["screen", "HDMI-1"])


def test_cursor_names_of_font_and_themes_mean_the_same() -> None:
    for names, shape in (
        (("xterm", "text", "IBEAM"), CursorShape.TEXT),
        (("sb_h_double_arrow", "ew-resize"), CursorShape.EW_RESIZE),
        (("", "left_ptr", "0f3a"), CursorShape.ARROW),
    ):
        assert [shape_of(name, True) for name in names] == [shape] * len(names)
    assert shape_of("text", False) == CursorShape.NONE
