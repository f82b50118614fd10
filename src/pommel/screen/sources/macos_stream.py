"""Captures a Mac's screen with ScreenCaptureKit: a stream for each display. Band: shell.

Frames come when something was drawn, with the changed rectangles. ScreenCaptureKit can also take single pictures, but
that needs a round trip for each. The newest frame of a display is kept until it is asked for, together with the changed
rectangles of the frames before it. Then its surface is read once, only where it changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pommel.errors import NotPermitted, StateError
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.sources.macos_displays import Floats, MacDisplay, View, damage_of
from pommel.screen.sources.macos_frameworks import Frameworks, MacError
from pommel.screen.sources.macos_pixels import DisplayStream, MacFrame

T = TypeVar("T")
# ScreenCaptureKit's server runs in a desktop session: without one it may never answer.
ANSWER_S = 3.0
# A display that sleeps has no frame: after this time the picture is shown without it.
_WHOLE_S = 1.0
_MANY_RECTS = 64
_SLOW_S = 1.0


@dataclass(slots=True)
class _SeenFrames:
    """The newest frame of a display, and the changed rectangles up to it; None: everything changed."""

    sample: MacFrame
    dirty: list[Floats] | None


class StreamEyes:
    """Streams of the displays of a view. `news` is called in any thread when there is something to take."""

    def __init__(self, frameworks: Frameworks, news: Callable[[], None], *, answer_s: float = ANSWER_S) -> None:
        self._frameworks, self._news, self._answer_s = frameworks, news, answer_s
        self._lock = threading.Lock()
        self._streams: list[DisplayStream] = []
        self._era = 0  # counts calls of `close`: callbacks of streams from before are ignored
        self._view = View()
        self._seen: dict[int, _SeenFrames] = {}
        self._missing: set[int] = set()
        self._whole_by_s = 0.0
        self._problem: MacError | None = None

    @property
    def is_open(self) -> bool:
        """See `Eyes`. False if macOS ended the streams."""
        return bool(self._streams) and self._problem is None

    @property
    def trouble(self) -> str:
        """See `Eyes`. If macOS ended the streams by itself, this is "": they may be opened again."""
        problem = self._problem
        if problem is None or not (problem.by_person or problem.declined):
            return ""
        return "the user of the Mac stopped the screen sharing" if problem.by_person else _words(problem)

    async def open(self, view: View) -> None:
        """See `Eyes`."""
        self.close()
        era = self._era
        try:
            shown = await self._displays()
            self._check_era(era)
            seen = [display for display in view.displays if display.id in shown]
            if not seen:
                raise StateError("ScreenCaptureKit found no display to show")
            self._view, self._missing = view, {display.id for display in seen}
            self._whole_by_s = time.monotonic() + _WHOLE_S
            self._streams = [self._stream(display, shown[display.id], view) for display in seen]
            for stream in self._streams:
                _check(await self._answer(stream.start))
                self._check_era(era)
        except BaseException:
            self.close()
            raise

    async def take(self, frame: Frame) -> tuple[Rect, ...] | None:
        """See `Eyes`."""
        with self._lock:
            seen, self._seen = self._seen, {}
        damage: list[Rect] = []
        for display in self._view.displays:
            if display.id in seen:
                damage += self._copy(display, seen[display.id], frame)
        if self._missing and time.monotonic() < self._whole_by_s:
            return None
        if self._whole_by_s:
            self._whole_by_s = 0.0
            return (whole(frame.size),)
        return tuple(damage)

    def wait_s(self) -> float:
        """See `Eyes`."""
        return max(self._whole_by_s - time.monotonic(), 0.0) if self._whole_by_s else _SLOW_S

    def close(self) -> None:
        """See `Eyes`."""
        with self._lock:
            self._era += 1
            self._seen, self._problem = {}, None
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.stop()

    # --- in the loop ---

    def _copy(self, display: MacDisplay, seen: _SeenFrames, frame: Frame) -> list[Rect]:
        place = self._view.place(display)
        size = Size(place.width, place.height)
        with seen.sample.pixels() as pixels:
            if pixels is None or pixels.shape[:2] != (size.height, size.width):
                return []
            first = display.id in self._missing or seen.dirty is None
            rects = (whole(size),) if first else damage_of(seen.dirty or (), self._view.scale, size)
            moved = [rect._replace(x=rect.x + place.x, y=rect.y + place.y) for rect in rects]
            for rect, there in zip(rects, moved, strict=True):
                frame.view(there)[:] = pixels[rect.y : rect.bottom, rect.x : rect.right]
        self._missing.discard(display.id)
        return moved

    def _stream(self, display: MacDisplay, shown: Any, view: View) -> DisplayStream:
        place, era = view.place(display), self._era

        def arrived(sample: MacFrame) -> None:
            self._arrived(era, display.id, sample)

        def stopped(problem: MacError) -> None:
            self._stopped(era, problem)

        return DisplayStream(self._frameworks, shown, Size(place.width, place.height), arrived, stopped)

    def _check_era(self, era: int) -> None:
        if era != self._era:
            raise StateError("the screen has no viewers any more")

    async def _displays(self) -> dict[int, Any]:
        def ask(answer: Callable[[tuple[dict[int, Any], MacError | None]], None]) -> None:
            self._frameworks.find_displays(lambda shown, problem: answer((shown, problem)))

        shown, problem = await self._answer(ask)
        _check(problem)
        return shown

    async def _answer(self, ask: Callable[[Callable[[T], None]], None]) -> T:
        """Ask macOS, which answers in another thread, and wait. StateError: no answer within `answer_s`."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[T] = loop.create_future()

        def take(answer: T) -> None:
            if not answered.done():
                answered.set_result(answer)

        def hear(answer: T) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: this process is ending
                loop.call_soon_threadsafe(take, answer)

        ask(hear)
        try:
            return await asyncio.wait_for(answered, self._answer_s)
        except TimeoutError:
            raise StateError(f"ScreenCaptureKit did not answer within {self._answer_s:g} s") from None

    # --- in threads of macOS ---

    def _arrived(self, era: int, display: int, sample: MacFrame) -> None:
        if not sample.has_picture:
            return
        dirty = sample.dirty
        with self._lock:
            if era != self._era:
                return
            before = self._seen.get(display)
            if before is not None:
                dirty = None if before.dirty is None or dirty is None else [*before.dirty, *dirty]
            if dirty is not None and len(dirty) > _MANY_RECTS:
                dirty = None
            self._seen[display] = _SeenFrames(sample, dirty)
        self._news()

    def _stopped(self, era: int, problem: MacError) -> None:
        with self._lock:
            if era != self._era:
                return
            self._problem = problem
        self._news()


def _check(problem: MacError | None) -> None:
    if problem is not None:
        raise (NotPermitted if problem.declined else StateError)(_words(problem))


def _words(problem: MacError) -> str:
    return f"macOS does not show the screen: {problem.words} (ScreenCaptureKit, {problem.code})"
