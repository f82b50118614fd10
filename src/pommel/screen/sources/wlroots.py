"""The screen of a Wayland session by wlr-screencopy: a `FrameSource`, and its connection. Band: shell.

For wlroots' compositors (sway, labwc, river, wayfire, Hyprland). The compositor writes into our memory, and only when
something has changed since the frame before; it is asked for a frame only when an update is wanted.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pommel.errors import PommelError, StateError
from pommel.screen.frame import BYTES_PER_PIXEL, Frame, Pixels
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.seams import Displays, SourceEnded, Update
from pommel.screen.sinks.wlroots import WlrootsSink
from pommel.screen.sources.wlroots_outputs import Output, Outputs, upright
from pommel.screen.wayland.connection import Thing, WaylandConnection, socket_path
from pommel.screen.wayland.memory import shared_memory
from pommel.wire.messages import CursorShape

SCREENCOPY, KEYBOARD, POINTER = (
    "zwlr_screencopy_manager_v1",
    "zwp_virtual_keyboard_manager_v1",
    "zwlr_virtual_pointer_manager_v1",
)
# wl_shm.format: blue first in memory, and red first.
_BLUE_FIRST, _RED_FIRST = (0, 1), (0x34324258, 0x34324241)
_Y_INVERT = 1
_CURRENT = 1  # wl_output.mode
_MOST_BYTES = 1 << 30
_MOST_DAMAGE = 1024  # rectangles of a frame; with more, all of it counts as changed
# While an output is off, each request fails, and no event tells when it is on again.
_TRY_AGAIN_S = 0.5
_LEAVE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Form:
    """The form of an output's pixels: wl_shm's format, the size, and the bytes of a row."""

    format: int
    size: Size
    stride: int


@dataclass(frozen=True, slots=True)
class _Buffer:
    form: _Form
    thing: Thing
    memory: mmap.mmap

    @property
    def pixels(self) -> Pixels:
        size, stride = self.form.size, self.form.stride
        rows = np.frombuffer(self.memory, np.uint8).reshape(size.height, stride // BYTES_PER_PIXEL, BYTES_PER_PIXEL)
        pixels = rows[:, : size.width]
        return pixels[:, :, (2, 1, 0, 3)] if self.form.format in _RED_FIRST else pixels


class WlrootsSource:
    """The screen of a wlroots compositor, one output at a time."""

    def __init__(self, connection: WaylandConnection) -> None:
        self._connection = connection
        self.outputs = Outputs()
        self.bound: dict[int, Thing] = {}
        self._pending: dict[int, Output] = {}  # an output's properties, until its `done`
        self._told = Displays()
        self._taking: Thing | None = None
        self._form: _Form | None = None
        self._buffer: _Buffer | None = None
        self._flags = 0
        self._damage: list[Rect] = []
        self._whole = True  # the next frame must be taken at once and shown whole
        self._failures = 0
        self._ready: Update | None = None
        self._ended: str | None = None
        self._news = asyncio.Event()

    def start(self) -> None:
        """Use the connection's globals. StateError: the compositor lacks one."""
        self._manager = self._connection.bind(SCREENCOPY, 3)
        self._shm = self._connection.bind("wl_shm", 1)
        self._connection.on_global, self._connection.on_global_gone = self._came, self._went
        self._connection.ended.add_done_callback(lambda _: self._news.set())
        for number in self._connection.offers("wl_output"):
            self._came(number)

    async def next_update(self) -> Update | SourceEnded:
        """Wait for something new (see `FrameSource`)."""
        while self._ready is None:
            if self._connection.ended.done() or self._ended:
                return SourceEnded(self._ended or self._connection.ended.result())
            if self._taking is None:
                self._take()
            self._news.clear()
            await self._news.wait()
        update, self._ready = self._ready, None
        return update

    async def until_ended(self) -> str:
        """Wait until the compositor is gone, with or without viewers; return the reason."""
        await asyncio.wait((self._connection.ended,))
        return self._connection.ended.result()

    def watch(self, watched: bool) -> None:
        """See `FrameSource`. Without a request the compositor does nothing, so nothing has to be stopped."""
        if watched:
            self._again()

    def shows_something(self, frame: Frame) -> bool:
        """Whether there is a picture. A compositor's picture counts even if it is black."""
        return frame.size.width > 0 and frame.size.height > 0

    def show_display(self, number: int) -> None:
        """Show the output with this number of `Update.displays`; nothing happens for "all"."""
        self.outputs = self.outputs.choose(number)
        self._again()

    # --- outputs ---

    def _came(self, number: int) -> None:
        interface, version = self._connection.globals[number]
        if interface != "wl_output" or version < 4:
            return
        thing = self.bound[number] = self._connection.bind("wl_output", 4, number)
        self._pending[number] = Output()

        def place(x: int, y: int, *rest: Any) -> None:
            self._pending[number] = replace(self._pending[number], x=x, y=y, transform=rest[-1])

        def mode(flags: int, width: int, height: int, _: int) -> None:
            if flags & _CURRENT:
                self._pending[number] = replace(self._pending[number], size=Size(width, height))

        def name(text: str) -> None:
            self._pending[number] = replace(self._pending[number], name=text)

        thing.on = {"geometry": place, "mode": mode, "name": name, "done": lambda: self._arranged(number)}

    def _arranged(self, number: int) -> None:
        self.outputs = self.outputs.changed(number, self._pending[number])
        self._again()

    def _went(self, number: int) -> None:
        if number in self.bound:
            self.outputs = self.outputs.without(number)
            thing = self.bound.pop(number)
            thing.on = {}
            thing.ask("release")
            del self._pending[number]
            self._again()

    # --- frames ---

    def _again(self) -> None:
        """Take a whole frame at once if an update is wanted, else with the next request."""
        self._whole = True
        self._drop()
        self._news.set()

    def _drop(self) -> None:
        if self._taking is not None:
            self._taking.on = {}
            self._taking.ask("destroy")
            self._taking = None

    def _take(self) -> None:
        number = self.outputs.shown
        if number is None:  # `_came` asks again
            return
        self._damage, self._flags, self._form = [], 0, None
        frame = self._taking = self._manager.make("capture_output", 0, self.bound[number])
        frame.on = {
            "buffer": self._offer,
            "buffer_done": self._copy,
            "flags": self._flagged,
            "damage": self._damaged,
            "ready": lambda *_: self._taken(number),
            "failed": self._failed,
        }

    def _offer(self, form: int, width: int, height: int, stride: int) -> None:
        self._form = _Form(form, Size(width, height), stride)

    def _flagged(self, flags: int) -> None:
        self._flags = flags

    def _damaged(self, x: int, y: int, width: int, height: int) -> None:
        if len(self._damage) < _MOST_DAMAGE:
            self._damage.append(Rect(x, y, width, height))
        else:
            self._whole = True

    def _copy(self) -> None:
        form = self._form
        if form is None or self._taking is None:
            self._end("the compositor has no pixels in memory to show")
            return
        if self._buffer is None or self._buffer.form != form:
            self._whole = True
            refusal = self._share(form)
            if refusal:
                self._end(refusal)
                return
        if self._buffer is not None:
            self._taking.ask("copy" if self._whole else "copy_with_damage", self._buffer.thing)

    def _share(self, form: _Form) -> str:
        """Make a buffer; return the reason if that is impossible."""
        if form.format not in _BLUE_FIRST + _RED_FIRST:
            return f"Pommel does not understand the format of the compositor's pixels ({form.format:#x})"
        bytes_ = form.stride * form.size.height
        if not 0 < bytes_ <= _MOST_BYTES or form.stride % BYTES_PER_PIXEL or form.stride < form.size.width * 4:
            return f"the compositor's picture has an impossible size ({form.size.width}×{form.size.height})"
        if self._buffer is not None:
            self._buffer.thing.ask("destroy")
        file, memory = shared_memory(bytes_)
        pool = self._shm.make("create_pool", file, bytes_)
        os.close(file)
        thing = pool.make("create_buffer", 0, *form.size, form.stride, form.format)
        pool.ask("destroy")
        self._buffer = _Buffer(form, thing, memory)
        return ""

    def _end(self, why: str) -> None:
        self._ended = why
        self._drop()
        self._connection.close(why)
        self._news.set()

    def _failed(self) -> None:
        """Try again: at once after the first failure, as the output's mode may have changed, and then after a while."""
        self._drop()
        self._whole = True
        self._failures += 1
        if self._failures == 1:
            self._news.set()
        else:
            asyncio.get_running_loop().call_later(_TRY_AGAIN_S, self._news.set)

    def _taken(self, number: int) -> None:
        self._drop()
        self._failures = 0
        output = self.outputs.all.get(number)
        if self._buffer is None or output is None:
            return
        pixels = self._buffer.pixels
        if self._flags & _Y_INVERT:
            pixels = pixels[::-1]
        frame = Frame(upright(pixels, output.transform))
        everything = self._whole or output.transform or self._flags & _Y_INVERT
        damage = (whole(frame.size),) if everything else tuple(rect.clipped(frame.size) for rect in self._damage)
        displays, self._whole = self.outputs.displays, False
        # The pointer's picture is not known by this protocol, so viewers show an arrow of their own.
        told = displays if displays != self._told else None
        self._ready = Update(frame, damage, cursor=CursorShape.ARROW, displays=told)
        self._told = displays
        self._news.set()


class WlrootsConnection:
    """A wlroots compositor, as a source of pixels and a sink of input."""

    def __init__(self, connection: WaylandConnection, source: WlrootsSource, sink: WlrootsSink) -> None:
        self.source = source
        self.sink = sink
        self._connection = connection

    async def until_ended(self) -> str:
        """Wait until the compositor is gone, with or without viewers; return the reason."""
        return await self.source.until_ended()

    async def close(self) -> None:
        """Release all keys and buttons, and disconnect."""
        self.sink.leave()
        with contextlib.suppress(PommelError, TimeoutError):
            await asyncio.wait_for(self._connection.roundtrip(), _LEAVE_S)  # until it has read everything
        self._connection.close()


async def connect_wlroots(display: str, runtime: str = "", *, timeout_s: float = 10.0) -> WlrootsConnection:
    """Connect to the Wayland display `display`: a path, or a name in the folder `runtime`.

    Raises:
        StateError: there is none, or it lacks one of the three protocols that are needed.
        NotPermitted: it belongs to another user.
        DeadlineError: it did not answer within `timeout_s`.
    """
    connection = WaylandConnection()
    try:
        await connection.open(socket_path(display, runtime), timeout_s=timeout_s)
        missing = [name for name in (SCREENCOPY, KEYBOARD, POINTER) if not connection.offers(name)]
        if missing:
            raise StateError(
                f"the Wayland compositor at {display} does not let programs see its screen and type: "
                f"it has no {', '.join(missing)}",
                hint="sway, labwc, river and wayfire do; in GNOME and KDE, log in to an X session",
            )
        source = WlrootsSource(connection)
        source.start()
        sink = WlrootsSink(connection, source)
        await asyncio.wait_for(sink.start(), timeout_s)
        return WlrootsConnection(connection, source, sink)
    except TimeoutError:
        connection.close()
        raise StateError(f"the Wayland compositor did not answer within {timeout_s:g} s") from None
    except (PommelError, asyncio.CancelledError):
        connection.close()
        raise
