"""An X11 session's screen: a `FrameSource`, and the connection of a source and a sink. Band: shell.

Built on python-xlib (`x11_display`), which needs no library of the host, and on the few requests that it lacks
(`x11_requests`). There are two connections, each with a thread, so that input does not wait for pictures.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from pommel.errors import PommelError
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect
from pommel.screen.seams import SourceEnded, Update
from pommel.screen.sinks.x11 import Keyboard, X11Sink
from pommel.screen.sources.x11_camera import Camera
from pommel.screen.sources.x11_link import X11Link


class X11Source:
    """The screen of an X server, one picture at a time."""

    def __init__(self, link: X11Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._camera: Camera | None = None
        self._ready: Update | None = None
        self._asked = False
        self._ended: str | None = None
        self._news = asyncio.Event()
        self._over = asyncio.Event()

    async def start(self, timeout_s: float) -> None:
        """Connect. Raises what `X11Link.open` does."""
        self._camera = await self._link.open(
            lambda display: Camera(display, self._shown), lambda why: self._post(self._end, why), timeout_s=timeout_s
        )

    @property
    def view(self) -> Rect:
        """The rectangle of the root window that the frame shows."""
        return self._camera.view if self._camera else Rect(0, 0, 0, 0)

    async def next_update(self) -> Update | SourceEnded:
        """Wait for something new (see `FrameSource`)."""
        while self._ready is None:
            if self._ended is not None:
                return SourceEnded(self._ended)
            if not self._asked and self._camera is not None:
                self._asked = True
                if self._camera.want():
                    self._link.rouse()
            self._news.clear()
            await self._news.wait()
        update, self._ready = self._ready, None
        return update

    async def until_ended(self) -> str:
        """Wait until the X server is gone, with or without viewers; return the reason."""
        await self._over.wait()
        return self._ended or ""

    def watch(self, watched: bool) -> None:
        """See `FrameSource`. Nothing has to be stopped: without a request the camera does nothing."""
        if watched and self._camera is not None:
            self._link.call(self._camera.poke)

    def shows_something(self, frame: Frame) -> bool:
        """Whether there is a picture. An X server's picture counts even if it is black."""
        return frame.size.width > 0 and frame.size.height > 0

    def show_display(self, number: int) -> None:
        """Show the display with this number (of `Update.displays`), or all; the next update is a whole picture."""
        if self._camera is not None:
            camera = self._camera
            self._link.call(lambda: camera.choose(number))

    def expect_change(self) -> None:
        """Note that there was input: a server without DAMAGE does not report the changes that it causes."""
        if self._camera is not None and self._camera.polls:
            self._link.call(self._camera.hurry)

    # from the connection's thread

    def _shown(self, update: Update) -> None:
        self._post(self._take, update)

    def _post(self, call: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: this process is ending
            self._loop.call_soon_threadsafe(call, *args)

    def _take(self, update: Update) -> None:
        self._ready, self._asked = update, False
        self._news.set()

    def _end(self, why: str) -> None:
        self._ended = why
        self._news.set()
        self._over.set()


class X11Connection:
    """An X server, as a source of pixels and a sink of input."""

    def __init__(self, source: X11Source, sink: X11Sink, links: tuple[X11Link, ...]) -> None:
        self.source = source
        self.sink = sink
        self._links = links

    async def until_ended(self) -> str:
        """Wait until the X server is gone, with or without viewers; return the reason."""
        return await self.source.until_ended()

    async def close(self) -> None:
        """Release all keys and buttons, restore the borrowed keys, and disconnect."""
        await asyncio.gather(*(link.close() for link in self._links))


async def connect_x11(display: str | None = None, *, timeout_s: float = 10.0) -> X11Connection:
    """Connect to the X server `display`, or to that of the environment variable DISPLAY.

    Raises:
        StateError: there is none, its screen cannot be read (Xwayland, not 24 bits deep), or it has no XTEST.
        NotPermitted: it refuses the connection.
        DeadlineError: it did not answer within `timeout_s`.
    """
    links = X11Link(display, "x11-screen"), X11Link(display, "x11-hands")
    try:
        source = X11Source(links[0])
        await source.start(timeout_s)
        keyboard = await links[1].open(
            lambda connected: Keyboard(connected, lambda: source.view), lambda _: None, timeout_s=timeout_s
        )
        return X11Connection(source, X11Sink(links[1], keyboard, source.expect_change), links)
    except (PommelError, asyncio.CancelledError):
        await asyncio.gather(*(link.close() for link in links))
        raise
