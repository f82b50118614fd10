"""Eyes of ScreenCaptureKit: a stream for each display. Band: shell.

Frames come when something was drawn, with the rectangles that changed: of the two ways ScreenCaptureKit has, this is
the one without a round trip for each picture. The newest frame of a display is kept until it is asked for, and what
changed in those before it is remembered. Its surface is then read once, where it changed.
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
from pommel.screen.sources.macos_frameworks import Frameworks, Problem
from pommel.screen.sources.macos_pixels import Sample, Stream

T = TypeVar("T")
# ScreenCaptureKit's broker lives in the session of a desktop: elsewhere it may never answer.
ANSWER_S = 3.0
# A display that sleeps has no frame: after this long the picture is shown without it.
_WHOLE_S = 1.0
_MANY_RECTS = 64
_SLOW_S = 1.0


@dataclass(slots=True)
class _Seen:
    """The newest frame of a display, and what changed up to it; None is everything."""

    sample: Sample
    dirty: list[Floats] | None


class StreamEyes:
    """Streams of the displays of a view. `news` is called in any thread when there is something to take."""

    def __init__(self, frameworks: Frameworks, news: Callable[[], None], *, answer_s: float = ANSWER_S) -> None:
        self._frameworks, self._news, self._answer_s = frameworks, news, answer_s
        self._lock = threading.Lock()
        self._streams: list[Stream] = []
        self._era = 0  # what streams of an era before this one still say is not heard
        self._view = View()
        self._seen: dict[int, _Seen] = {}
        self._missing: set[int] = set()
        self._whole_by_s = 0.0
        self._problem: Problem | None = None

    @property
    def is_open(self) -> bool:
        """See `Eyes`. Streams that macOS ended are not."""
        return bool(self._streams) and self._problem is None

    @property
    def trouble(self) -> str:
        """See `Eyes`. Streams that macOS ended by itself may be opened again."""
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

    def _copy(self, display: MacDisplay, seen: _Seen, frame: Frame) -> list[Rect]:
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

    def _stream(self, display: MacDisplay, shown: Any, view: View) -> Stream:
        place, era = view.place(display), self._era

        def arrived(sample: Sample) -> None:
            self._arrived(era, display.id, sample)

        def stopped(problem: Problem) -> None:
            self._stopped(era, problem)

        return Stream(self._frameworks, shown, Size(place.width, place.height), arrived, stopped)

    def _check_era(self, era: int) -> None:
        if era != self._era:
            raise StateError("the screen has no viewers any more")

    async def _displays(self) -> dict[int, Any]:
        def ask(answer: Callable[[tuple[dict[int, Any], Problem | None]], None]) -> None:
            self._frameworks.find_displays(lambda shown, problem: answer((shown, problem)))

        shown, problem = await self._answer(ask)
        _check(problem)
        return shown

    async def _answer(self, ask: Callable[[Callable[[T], None]], None]) -> T:
        """Ask macOS what it answers in a thread of its own. StateError: it does not."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[T] = loop.create_future()

        def take(answer: T) -> None:
            if not answered.done():
                answered.set_result(answer)

        def hear(answer: T) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(take, answer)

        ask(hear)
        try:
            return await asyncio.wait_for(answered, self._answer_s)
        except TimeoutError:
            raise StateError(f"ScreenCaptureKit did not answer within {self._answer_s:g} s") from None

    # --- in threads of macOS's ---

    def _arrived(self, era: int, display: int, sample: Sample) -> None:
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
            self._seen[display] = _Seen(sample, dirty)
        self._news()

    def _stopped(self, era: int, problem: Problem) -> None:
        with self._lock:
            if era != self._era:
                return
            self._problem = problem
        self._news()


def _check(problem: Problem | None) -> None:
    if problem is not None:
        raise (NotPermitted if problem.declined else StateError)(_words(problem))


def _words(problem: Problem) -> str:
    return f"macOS does not show the screen: {problem.words} (ScreenCaptureKit, {problem.code})"
