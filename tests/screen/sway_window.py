"""A full-screen window in a Wayland session, in four colours; it notes the keys and the pointer that it gets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

import numpy as np

from isolation import patient
from pommel.screen.wayland.connection import Thing, WaylandConnection
from pommel.screen.wayland.memory import shared_memory
from pommel.screen.wayland.tables import interface
from sway import Sway

_MORE = {
    "wl_compositor": interface(["create_surface n:wl_surface", "create_region n:wl_region"]),
    "wl_surface": interface(
        ["destroy", "attach oii", "damage iiii", "frame n:wl_callback", "set_opaque_region o", "set_input_region o", "commit"],
        ["enter o", "leave o"],
    ),
    "wl_pointer": interface(
        ["set_cursor uoii", "release"],
        [
            "enter uoff", "leave uo", "motion uff", "button uuuu", "axis uuf", "frame", "axis_source u", "axis_stop uu",
            "axis_discrete ui",
        ],
    ),
    "xdg_wm_base": interface(
        ["destroy", "create_positioner n:xdg_positioner", "get_xdg_surface n:xdg_surface o", "pong u"], ["ping u"]
    ),
    "xdg_surface": interface(
        ["destroy", "get_toplevel n:xdg_toplevel", "get_popup n:xdg_popup oo", "set_window_geometry iiii", "ack_configure u"],
        ["configure u"],
    ),
    "xdg_toplevel": interface(
        [
            "destroy", "set_parent o", "set_title s", "set_app_id s", "show_window_menu ouii", "move ou", "resize ouu",
            "set_max_size ii", "set_min_size ii", "set_maximized", "unset_maximized", "set_fullscreen o",
        ],
        ["configure iia", "close"],
    ),
}  # fmt: skip
BLUE, GREEN, RED, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


class Window:
    """Blue, green, red and white: left above, right above, left below, right below."""

    def __init__(self, connection: WaylandConnection) -> None:
        self._connection = connection
        self.keys: list[tuple[int, int]] = []
        self.modifiers: list[tuple[int, int]] = []
        self.keymaps: list[str] = []
        self.motions: list[tuple[float, float]] = []
        self.buttons: list[tuple[int, int]] = []
        self.notches: list[tuple[int, int]] = []
        self.size = (0, 0)
        self._keyboard: Thing | None = None
        self._shm = connection.bind("wl_shm", 1)
        seat = connection.bind("wl_seat", 5)
        seat.on["capabilities"] = lambda bits: self._get_hands(seat, bits)
        base = connection.bind("xdg_wm_base", 1)
        base.on["ping"] = lambda serial: base.ask("pong", serial)
        self._surface = connection.bind("wl_compositor", 4).make("create_surface")
        self._shell = base.make("get_xdg_surface", self._surface)
        self._shell.on["configure"] = self._configured
        top = self._shell.make("get_toplevel")
        top.on["configure"] = self._sized
        top.ask("set_fullscreen", None)
        self._surface.ask("commit")

    def paint(self, colours: tuple[tuple[int, int, int], ...] = (BLUE, GREEN, RED, WHITE)) -> None:
        """Show four colours."""
        width, height = self.size
        file, memory = shared_memory(width * height * 4)
        pixels = np.frombuffer(memory, np.uint8).reshape(height, width, 4)
        for index, colour in enumerate(colours):
            rows, columns = (slice(height // 2), slice(height // 2, None)), (slice(width // 2), slice(width // 2, None))
            pixels[rows[index // 2], columns[index % 2], :3] = colour
        pool = self._shm.make("create_pool", file, len(memory))
        os.close(file)
        buffer = pool.make("create_buffer", 0, width, height, width * 4, 1)
        pool.ask("destroy")
        self._surface.ask("attach", buffer, 0, 0)
        self._surface.ask("damage", 0, 0, width, height)
        self._surface.ask("commit")

    def _sized(self, width: int, height: int, _: bytes) -> None:
        self.size = width, height

    def _configured(self, serial: int) -> None:
        self._shell.ask("ack_configure", serial)
        self.size = self.size if all(self.size) else (64, 64)  # sway names one only to a window that is shown
        self.paint()

    def _get_hands(self, seat: Thing, bits: int) -> None:
        if bits & 2 and self._keyboard is None:
            self._keyboard = seat.make("get_keyboard")
            self._keyboard.on = {
                "key": lambda _serial, _time, code, down: self.keys.append((code, down)),
                "modifiers": lambda _serial, held, _latched, locked, _group: self.modifiers.append((held, locked)),
                "keymap": lambda _form, size, file: self.keymaps.append(os.pread(file, size, 0).decode()),
            }
        if bits & 1:
            pointer = seat.make("get_pointer")
            pointer.on = {
                "enter": lambda _serial, _surface, x, y: self.motions.append((x, y)),
                "motion": lambda _time, x, y: self.motions.append((x, y)),
                "button": lambda _serial, _time, code, down: self.buttons.append((code, down)),
                "axis_discrete": lambda axis, notches: self.notches.append((axis, notches)),
            }


@contextlib.asynccontextmanager
async def window(sway: Sway) -> AsyncIterator[Window]:
    """Open a window during the block."""
    connection = WaylandConnection(_MORE)
    await connection.open(str(sway.runtime / sway.display), timeout_s=patient(10))
    try:
        yield Window(connection)
    finally:
        connection.close()
