"""An X11 session's screen and hands: a `FrameSource`, and the connection whose other half is a sink. Band: shell.

Built on python-xlib, which Pommel has anyway, plus the few requests it lacks (`x11_requests`): it needs no library of
the host, as the bindings of libX11 and libxcb do (the DAMAGE, SHM and XTEST ones are often not installed). Two
connections, each with a thread: hands do not wait for pictures.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from pommel.errors import PommelError
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect
from pommel.screen.seams import Ended, Update
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
        """The part of the root window that the frame shows."""
        return self._camera.view if self._camera else Rect(0, 0, 0, 0)

    async def next_update(self) -> Update | Ended:
        """Wait for something new (see `FrameSource`)."""
        while self._ready is None:
            if self._ended is not None:
                return Ended(self._ended)
            if not self._asked and self._camera is not None:
                self._asked = True
                if self._camera.want():
                    self._link.rouse()
            self._news.clear()
            await self._news.wait()
        update, self._ready = self._ready, None
        return update

    async def until_ended(self) -> str:
        """Wait until the X server is gone, looked at or not; return why."""
        await self._over.wait()
        return self._ended or ""

    def watch(self, watched: bool) -> None:
        """See `FrameSource`. A screen that nobody asks for costs nothing, watched or not."""
        if watched and self._camera is not None:
            self._link.call(self._camera.poke)

    def shows_something(self, frame: Frame) -> bool:
        """Tell an X server's picture from none at all: it may well be black, and is its own all the same."""
        return frame.size.width > 0 and frame.size.height > 0

    def show_display(self, number: int) -> None:
        """Show the display of this number (of `Update.displays`), or all of them: the next update is whole."""
        if self._camera is not None:
            camera = self._camera
            self._link.call(lambda: camera.choose(number))

    def expect_change(self) -> None:
        """Take note that hands did something, of which a server without DAMAGE would not tell."""
        if self._camera is not None and self._camera.polls:
            self._link.call(self._camera.hurry)

    # from the connection's thread

    def _shown(self, update: Update) -> None:
        self._post(self._take, update)

    def _post(self, call: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
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
        """Wait until the X server is gone, looked at or not; return why."""
        return await self.source.until_ended()

    async def close(self) -> None:
        """Let go of all that is held, give back what was borrowed, and part from the server."""
        await asyncio.gather(*(link.close() for link in self._links))


async def connect_x11(display: str | None = None, *, timeout_s: float = 10.0) -> X11Connection:
    """Connect to the X server called `display`, or the one that DISPLAY names.

    Raises:
        StateError: there is none, its screen cannot be read (Xwayland, not 24 bits deep), or it has no XTEST.
        NotPermitted: it does not let us in.
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
