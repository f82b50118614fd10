"""Asks an X server for its properties, once. Band: shell; blocks, in a connection's thread."""

from __future__ import annotations

from Xlib import X
from Xlib.display import Display
from Xlib.ext import damage, randr, xfixes

from pommel.errors import StateError
from pommel.screen.geometry import Rect
from pommel.screen.sources import x11_requests as ask
from pommel.screen.sources.x11_displays import Monitor

_MONITORS_SINCE = (1, 5)
# python-xlib makes new classes for its extensions' events with each connection, so events are recognised by number.
_EVENTS = {damage.extname: (0,), xfixes.extname: (1,), ask.XKB: (0,), randr.extname: (0, 1)}


def randr_version(display: Display) -> tuple[int, int]:
    """Return the server's version of RandR; (0, 0) if it has none."""
    if not display.has_extension(randr.extname):
        return 0, 0
    version = randr.query_version(display)
    return version.major_version, version.minor_version


def monitors(display: Display, version: tuple[int, int]) -> list[Monitor]:
    """List the current monitors; none if this version of RandR does not have them."""
    if version < _MONITORS_SINCE:
        return []
    found = randr.get_monitors(display.screen().root, is_active=True).monitors
    return [
        Monitor(display.get_atom_name(one.name), Rect(one.x, one.y, one.width_in_pixels, one.height_in_pixels))
        for one in found
    ]


def tell_of_lamps(display: Display) -> bool:
    """Ask for events at changes of the keyboard's lamps; False if the server cannot send them."""
    return display.has_extension(ask.XKB) and ask.select_lamp_events(display)


def events(display: Display) -> dict[int, str]:
    """Return the extension of each event number that the camera handles; events of the root window count as RandR's."""
    numbers = {X.ConfigureNotify: randr.extname}
    for name, offsets in _EVENTS.items():
        if info := display.query_extension(name):
            numbers |= {info.first_event + offset: name for offset in offsets}
    return numbers


def check_readable(display: Display, version: tuple[int, int]) -> None:
    """Check that the screen can be read, and that its pixels have our format.

    Raises:
        StateError: they have another format, or the server is Xwayland.
    """
    name = display.get_display_name()
    if is_xwayland(display.list_extensions(), _outputs(display, version)):
        raise StateError(
            f"{name} is Xwayland: it shows only the X11 programs of a Wayland session, not its screen",
            hint='log in to an "Xorg" session, which you can choose on the login screen, and give its display',
        )
    if not _has_our_pixels(display):
        raise StateError(
            f"the X server {name} has a screen of depth {display.screen().root_depth}, but 24 is needed",
            hint="start it with a depth of 24, such as Xvfb -screen 0 1920x1080x24",
        )


def is_xwayland(extensions: list[str], outputs: list[str]) -> bool:
    """Recognise Xwayland by its extension (from 23.1 on) or by the names of its outputs."""
    return "XWAYLAND" in extensions or any(name.startswith("XWAYLAND") for name in outputs)


def _outputs(display: Display, version: tuple[int, int]) -> list[str]:
    if version < (1, 3):
        return []
    root = display.screen().root
    found = randr.get_screen_resources_current(root)
    return [randr.get_output_info(root, output, found.config_timestamp).name for output in found.outputs]


def _has_our_pixels(display: Display) -> bool:
    """Whether a pixel is four bytes: blue, green, red, unused."""
    info, screen = display.display.info, display.screen()
    bits = {one.depth: one.bits_per_pixel for one in info.pixmap_formats}
    visuals = (visual for depth in screen.allowed_depths for visual in depth.visuals)
    masks = {v.visual_id: (v.red_mask, v.green_mask, v.blue_mask) for v in visuals}
    blue_first = masks.get(screen.root_visual) == (0xFF0000, 0xFF00, 0xFF) and not info.image_byte_order
    return bits.get(screen.root_depth) == 32 and blue_first
