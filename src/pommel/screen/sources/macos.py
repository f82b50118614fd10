"""A Mac's screen: a `FrameSource`, and the connection that it shares with the sink. Band: shell.

Not run on a Mac yet. The code above `macos_frameworks` is tested with a stand-in that was written from Apple's
documentation, and the names in `macos_frameworks` are checked against pyobjc's wheels. It must run in the session that
it shows, in the main thread of a process: only there does AppKit report the pointer, and macOS reports changes of
displays to that thread's run loop.

From macOS 14 on, ScreenCaptureKit takes the pictures. Where it does not work (before 14, and perhaps at the login
window), CGDisplayCreateImage does. When macOS is asked whether this process may see the screen, its "no" may be wrong.
So ScreenCaptureKit is tried anyway; CGDisplayCreateImage is not, because it would show only the wallpaper.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

from pommel.errors import DeadlineError, MissingProgram, NotPermitted, PommelError, StateError
from pommel.process import Detached, spawn_detached
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.seams import Displays, SourceEnded, Update
from pommel.screen.sinks.macos import MacSink
from pommel.screen.sinks.macos_events import Events
from pommel.screen.sinks.macos_keys import CapsLock
from pommel.screen.sources.macos_cursors import Cursors
from pommel.screen.sources.macos_displays import DisplayLayout, View
from pommel.screen.sources.macos_eyes import Eyes
from pommel.screen.sources.macos_frameworks import Frameworks
from pommel.screen.sources.macos_permissions import MacPermission, accessibility, screen_recording
from pommel.screen.sources.macos_stills import StillEyes
from pommel.screen.sources.macos_stream import StreamEyes
from pommel.wire.messages import CAPS_LOCK, CursorShape

STREAMS_SINCE = 14
# Displays, pointer and Caps Lock are polled this often while there are viewers: macOS sends no event for them.
GLANCE_S = 0.1
_TRIES, _RETRY_S = 4, 0.5
_AWAKE_S = 10


class MacSource:
    """The displays of this session, one picture at a time."""

    def __init__(self, frameworks: Frameworks, caps: CapsLock) -> None:
        self._frameworks, self._caps = frameworks, caps
        self._loop = asyncio.get_running_loop()
        self._cursors = Cursors(frameworks.cursor)
        self._layout = DisplayLayout()
        self._eyes: Eyes = StillEyes(frameworks)
        self._shown = View()
        self._frame = Frame.blank(Size(0, 0))
        self._cursor: CursorShape | None = None
        self._lock_keys = 0
        self._told: tuple[CursorShape | None, int | None, Displays] = (None, None, Displays())
        self._watched = self._poked = True
        self._glance_at_s = 0.0
        self._failures = 0
        self._ended: str | None = None
        self._news, self._over = asyncio.Event(), asyncio.Event()

    async def start(self) -> None:
        """Choose a way of capture that works, and begin.

        Raises:
            NotPermitted: a person has to permit it first.
            StateError: there is no display, or macOS does not show it here.
        """
        self._layout = self._layout.changed(self._frameworks.displays())
        if not self._layout.displays:
            raise StateError("this Mac has no display", hint="connect a display or a dummy plug; a Mac mini needs one")
        allowed = self._frameworks.may_capture()
        # root runs at the login window, where nobody can answer the question
        if not allowed and self._frameworks.uid != 0:
            self._frameworks.ask_for_capture()
        why: PommelError | None = None
        for eyes in self._candidates(allowed):
            try:
                await self._open(eyes)
                return
            except (StateError, NotPermitted) as failure:
                why = failure
        missing = screen_recording(False, self._frameworks.release, self._frameworks.program)
        if why is None or isinstance(why, NotPermitted) or not allowed:
            raise NotPermitted(missing.words, hint=f"open '{missing.url}'")
        raise why

    def _candidates(self, allowed: bool) -> list[Eyes]:
        streams: list[Eyes] = [StreamEyes(self._frameworks, self._hear)] if self._has_streams else []
        return [*streams, *([StillEyes(self._frameworks)] if allowed else [])]

    @property
    def _has_streams(self) -> bool:
        return self._frameworks.release >= STREAMS_SINCE

    @property
    def view(self) -> View:
        """What the frame shows."""
        return self._shown

    async def next_update(self) -> Update | SourceEnded:
        """Wait for something new (see `FrameSource`). Without viewers nothing is captured."""
        while self._ended is None:
            if not self._watched:
                await self._wait(None)
                continue
            self._glance()
            damage = await self._eyes.take(self._frame) if await self._ready() else None
            if damage is not None and (update := self._update(damage)) is not None:
                return update
            if self._ended is None:
                await self._wait(self._patience_s())
        return SourceEnded(self._ended)

    async def until_ended(self) -> str:
        """Wait until the screen can no longer be captured, with or without viewers; return the reason."""
        await self._over.wait()
        return self._ended or ""

    def watch(self, watched: bool) -> None:
        """See `FrameSource`. Without viewers nothing is recorded, and macOS shows no sign of a recording."""
        self._watched = watched
        if watched:
            self._poked = True
        else:
            self._eyes.close()
        self._news.set()

    def shows_something(self, frame: Frame) -> bool:
        """Whether the picture is not plain: a display that sleeps is plain black."""
        return not frame.is_plain(whole(frame.size))

    def show_display(self, number: int) -> None:
        """Show the display with this number (of `Update.displays`), or all; the next update is a whole picture."""
        self._layout = self._layout.choose(number)
        self._poked = True
        self._news.set()

    def end(self, why: str) -> None:
        """Stop capturing; `why` is the reason that viewers get."""
        if self._ended is None:
            self._ended = why
        self._eyes.close()
        self._news.set()
        self._over.set()

    # --- looking ---

    def _glance(self) -> None:
        """Poll the displays, the pointer and Caps Lock: macOS sends no event for them."""
        if time.monotonic() < self._glance_at_s:
            return
        self._glance_at_s = time.monotonic() + GLANCE_S
        with contextlib.suppress(StateError):
            self._layout = self._layout.changed(self._frameworks.displays())
        picture = self._frameworks.pointer()
        if picture is not None:
            self._cursor = self._cursors.shape_of(picture)
        self._lock_keys = CAPS_LOCK if self._caps.seen(self._frameworks.caps_lock()) else 0

    async def _ready(self) -> bool:
        """Make sure that the capture shows the current view; False if there is nothing to capture now."""
        view = self._layout.view
        if self._eyes.trouble:
            self.end(self._eyes.trouble)
        if self._ended is not None or not view.size.width:
            return False
        if self._eyes.is_open and view == self._shown:
            return True
        try:
            await self._open(self._eyes)
        except PommelError as failure:
            await self._failed(failure)
            return False
        return True

    async def _open(self, eyes: Eyes) -> None:
        view = self._layout.view
        await eyes.open(view)
        self._eyes, self._shown, self._frame = eyes, view, Frame.blank(view.size)

    async def _failed(self, failure: PommelError) -> None:
        """Try again for a while: displays that come and go interrupt a stream."""
        if not self._watched or self._ended is not None:  # we closed it while it was opening: no failure
            return
        self._failures += 1
        if isinstance(failure, NotPermitted) or self._failures >= _TRIES:
            self.end(failure.message)
        else:
            await asyncio.sleep(_RETRY_S)

    def _update(self, damage: tuple[Rect, ...]) -> Update | None:
        cursor, lock_keys, displays = told = self._cursor, self._lock_keys, self._layout.viewer_displays
        if not damage and not self._poked and told == self._told:
            return None
        before, self._told, self._poked = self._told, told, False
        self._failures = 0 if damage else self._failures
        return Update(
            self._frame, damage,
            lock_keys=lock_keys if lock_keys != before[1] else None,
            cursor=cursor if cursor != before[0] else None,
            displays=displays if displays != before[2] else None,
        )  # fmt: skip

    def _patience_s(self) -> float:
        glance_s = max(self._glance_at_s - time.monotonic(), 0.0)
        return min(glance_s, self._eyes.wait_s()) if self._eyes.is_open else glance_s

    async def _wait(self, timeout_s: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()

    def _hear(self) -> None:
        """Note that there is something new; called in any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: this process is ending
            self._loop.call_soon_threadsafe(self._news.set)


class MacConnection:
    """This Mac's session, as a source of pixels and a sink of input."""

    def __init__(self, source: MacSource, sink: MacSink, waker: Detached | None) -> None:
        self.source = source
        self.sink = sink
        self._waker = waker

    async def until_ended(self) -> str:
        """Wait until the screen can no longer be captured, with or without viewers; return the reason."""
        return await self.source.until_ended()

    async def close(self) -> None:
        """Release all keys and buttons, and stop capturing."""
        self.sink.leave()
        self.source.end("the screen is no longer served")
        _part(self._waker)


async def connect_macos(*, timeout_s: float = 10.0, frameworks: Frameworks | None = None) -> MacConnection:
    """Connect to the session of this process. Call it in the main thread.

    Raises:
        MissingProgram: pyobjc is not installed.
        NotPermitted: a person must permit screen recording first; the message names the pane of System Settings.
        StateError: there is no session or no display here, or macOS does not show it.
        DeadlineError: macOS did not answer within `timeout_s`.
    """
    frameworks = frameworks or Frameworks()
    caps = CapsLock()
    source, waker = MacSource(frameworks, caps), _wake()
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await source.start()
        except TimeoutError:
            raise DeadlineError(f"macOS did not show its screen within {timeout_s:g} s") from None
        sink = MacSink(frameworks, Events(frameworks), caps, lambda: source.view)
        if not frameworks.may_post() and frameworks.uid != 0:
            frameworks.ask_for_post()
        return MacConnection(source, sink, waker)
    except BaseException:
        source.end("the screen is not served")
        _part(waker)
        raise


def permissions(frameworks: Frameworks | None = None) -> tuple[MacPermission, ...]:
    """Ask macOS for the permissions of this process; this does not open a question on the Mac's screen.

    Raises:
        MissingProgram: pyobjc is not installed.
    """
    macos = frameworks or Frameworks()
    return (
        screen_recording(macos.may_capture(), macos.release, macos.program),
        accessibility(macos.may_post(), macos.release, macos.program),
    )


def _wake() -> Detached | None:
    """Wake the displays, as a mouse movement does: a display that sleeps shows nothing. The program ends by itself."""
    try:
        return spawn_detached(["caffeinate", "-u", "-t", str(_AWAKE_S)], Path(os.devnull))
    except MissingProgram:
        return None


def _part(waker: Detached | None) -> None:
    if waker is not None and waker.exit_status() is None:
        waker.kill()
