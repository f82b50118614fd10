"""An endpoint: one source, one sink, one engine, any number of viewers. Band: shell.

`run` moves updates from the source to the viewers' backlogs while anybody looks on, `serve` serves one viewer. Neither
knows what a viewer's connection is made of, nor what is behind source and sink.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from pommel.errors import DeadlineError, MachineError, PommelError
from pommel.screen.encodes import Encodes
from pommel.screen.engine import Engine
from pommel.screen.geometry import Size
from pommel.screen.hold import Hold
from pommel.screen.intake import NOTCH, Intake
from pommel.screen.jpeg import JpegEncoder
from pommel.screen.seams import Displays, Encoder, Ended, FrameSource, InputSink, Update, ViewerStream
from pommel.screen.viewer import Viewer
from pommel.wire.messages import ALL_DISPLAYS, CursorShape, DisplayInfo, DisplayList, KeyState, MouseCursor

STALL_S = 30.0


class Endpoint:
    """A screen that people look at and lay hands on."""

    def __init__(
        self,
        source: FrameSource,
        sink: InputSink,
        *,
        encoder: Encoder | None = None,
        stall_s: float = STALL_S,
    ) -> None:
        self._source = source
        self._sink = sink
        self._encoder = encoder or JpegEncoder()
        self._stall_s = stall_s
        self._engine = Engine()
        self._encodes = Encodes()
        self._hold = Hold()
        self._viewers: set[Viewer] = set()
        self._lookers = 0
        self._wanted = asyncio.Event()
        self._old = True  # nobody has looked for a while: the engine's picture may be an old one
        self._next = asyncio.Event()  # set with the next update, then replaced
        self._over = asyncio.Event()
        self._reason = ""
        self._pointer = MouseCursor(CursorShape.ARROW)
        self._lock_keys: KeyState | None = None
        self._displays: Displays | None = None

    @property
    def viewers(self) -> int:
        """How many look on now."""
        return len(self._viewers)

    @property
    def size(self) -> Size:
        """Width and height of the picture in pixels; 0×0 before the first."""
        return self._engine.size

    async def run(self) -> None:
        """Pump pictures while anybody looks on; return when the source has ended. Viewers are then parted from.

        Raises:
            ProtocolError: the source's other side spoke nonsense.
        """
        self._reason = "the screen is no longer served"
        try:
            while True:
                await self._wanted.wait()
                update = await self._source.next_update()
                if isinstance(update, Ended):
                    self._reason = update.reason
                    return
                self._show(update)
        except PommelError as failure:
            self._reason = failure.message
            raise
        finally:
            self._over.set()
            self._pulse()
            self._encodes.close()

    async def serve(self, stream: ViewerStream, *, view_only: bool = False, wheel_notch: int = NOTCH) -> None:
        """Serve one viewer until it leaves: the Screen, a whole picture, then what changes; its input to the sink.

        `wheel_notch` is what the viewer sends for one notch (`intake.MESHCENTRAL_NOTCH` for MeshCentral's page).
        What it held down is let go of in the end, however that comes.

        Raises:
            WireError: the viewer sent what is no KVM command; closing the stream is the caller's.
        """
        sink = None if view_only else self._sink
        intake = Intake(self._hold, wheel_notch=wheel_notch)
        with self._looking():
            viewer = Viewer(stream, self._engine, self._encodes, self._encoder, sink, intake, stall_s=self._stall_s)
            self._greet(viewer)
            self._viewers.add(viewer)
            try:
                await viewer.run(self._fresh, self._until_over)
            finally:
                self._viewers.discard(viewer)
                self._sink.release(intake.leave())

    async def wait_live(self, timeout_s: float) -> None:
        """Wait until the machine shows something.

        Raises:
            DeadlineError: it did not within `timeout_s`.
            MachineError: the source ended before.
        """
        with self._looking():
            try:
                async with asyncio.timeout(timeout_s):
                    while self._old or not self._source.shows_something(self._engine.frame):
                        if self._over.is_set():
                            raise MachineError(f"the screen never came alive: {self._reason}")
                        await self._next.wait()
            except TimeoutError:
                raise DeadlineError(f"the screen stayed blank for {timeout_s:g} s") from None

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        self._lookers += 1
        if self._lookers == 1:
            self._old = True
            self._wanted.set()
            self._source.watch(True)
        try:
            yield
        finally:
            self._lookers -= 1
            if self._lookers == 0:
                self._wanted.clear()
                self._source.watch(False)

    async def _fresh(self) -> None:
        while self._old:
            await self._next.wait()

    async def _until_over(self) -> str:
        await self._over.wait()
        return self._reason

    def _greet(self, viewer: Viewer) -> None:
        viewer.backlog.say(self._pointer)
        if self._lock_keys is not None:
            viewer.backlog.say(self._lock_keys)
        if self._displays is not None:
            shown = self._displays
            viewer.backlog.say(DisplayInfo(shown.all))
            choice = (*(display.id for display in shown.all), ALL_DISPLAYS) if shown.all else ()
            viewer.backlog.say(DisplayList(choice, shown.selected if choice else 0))

    def _show(self, update: Update) -> None:
        changed = self._engine.update(update.frame, update.damage)
        self._old = False
        self._tell(update)
        if changed.any():
            for viewer in self._viewers:
                viewer.backlog.mark(changed, self._engine.size)
                viewer.wake()
        self._pulse()

    def _tell(self, update: Update) -> None:
        if update.pointer_visible is not None:
            shape = CursorShape.ARROW if update.pointer_visible else CursorShape.NONE
            self._pointer = MouseCursor(shape)
        if update.cursor is not None:
            self._pointer = MouseCursor(update.cursor)
        if update.lock_keys is not None:
            self._lock_keys = KeyState(update.lock_keys)
        if update.displays is not None:
            self._displays = update.displays
        if any(news is not None for news in (update.pointer_visible, update.lock_keys, update.cursor, update.displays)):
            for viewer in self._viewers:
                self._greet(viewer)
                viewer.wake()

    def _pulse(self) -> None:
        """Wake who waits for the next update."""
        now, self._next = self._next, asyncio.Event()
        now.set()
