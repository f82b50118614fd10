"""An endpoint: one source, one sink, one engine, any number of viewers. Band: shell.

`run` moves updates from the source to the viewers' backlogs while there is a viewer, and `serve` serves one viewer.
Neither knows the kind of a viewer's connection, or the kind of source and sink.

There is only one picture: if one viewer selects a display, it is selected for all viewers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from pommel.errors import DeadlineError, MachineError, PommelError
from pommel.screen.delivery import Delivery
from pommel.screen.encodes import Encodes
from pommel.screen.engine import Engine
from pommel.screen.geometry import Size
from pommel.screen.hold import Hold
from pommel.screen.intake import Intake
from pommel.screen.move_search import MovedArea
from pommel.screen.moves import Moved, MoveFinder, rest_of
from pommel.screen.pictures import PictureEncoder
from pommel.screen.pointer import UNKNOWN, PointerPicture
from pommel.screen.seams import Displays, Encoder, FrameSource, InputSink, SearchingSource, SourceEnded, Update
from pommel.screen.tiles import Changes, touched
from pommel.screen.videos import EncoderFor, Videos
from pommel.screen.viewer import Viewer
from pommel.wire import messages as wire
from pommel.wire import mouse
from pommel.wire.messages import ALL_DISPLAYS, CursorShape, DisplayInfo, DisplayList, KeyState, MouseCursor, Pointer
from pommel.wire.mouse import NOTCH, MouseKind
from pommel.wire.viewer import ViewerStream

STALL_S = 30.0
GOING_AWAY = 1001  # WebSocket close code (RFC 6455, 7.4.1)


class Endpoint:
    """A screen that viewers see and control."""

    def __init__(
        self,
        source: FrameSource,
        sink: InputSink,
        *,
        encoder: Encoder | None = None,
        video: EncoderFor | None = None,
        stall_s: float = STALL_S,
        goodbye: int = GOING_AWAY,
    ) -> None:
        self._goodbye = goodbye  # the close code for viewers when the source has ended
        self._source = source
        self._sink = sink
        self._encoder = encoder or PictureEncoder()
        self._stall_s = stall_s
        self._engine = Engine()
        self._encodes = Encodes()
        self._videos = Videos(self._engine, video)
        self._finder = source.finder if isinstance(source, SearchingSource) else MoveFinder()
        self._hold = Hold()
        self._viewers: set[Viewer] = set()
        self._lookers = 0
        self._wanted = asyncio.Event()
        self._old = True  # there were no viewers, so the engine's picture may be out of date
        self._next = asyncio.Event()  # set with the next update, then replaced
        self._over = asyncio.Event()
        self._reason = ""
        self._displays = Displays()
        # The newest command of each type that a viewer gets when it comes, and at each change.
        self._facts: dict[type, wire.Command] = {
            MouseCursor: MouseCursor(CursorShape.ARROW),
            Pointer: _looks(UNKNOWN),  # sent too, because a viewer may still have the pointer of an earlier endpoint
            MouseKind: self._mouse(relative=False),
        }

    @property
    def viewers(self) -> int:
        """The number of viewers now."""
        return len(self._viewers)

    @property
    def size(self) -> Size:
        """Width and height of the picture in pixels; 0×0 before the first."""
        return self._engine.size

    async def run(self) -> None:
        """Move pictures while there is a viewer; return when the source has ended. Viewers are then disconnected.

        Raises:
            ProtocolError: the source's other side broke its protocol.
        """
        self._reason = "the screen is no longer served"
        self._videos.prepare()
        try:
            while True:
                await self._wanted.wait()
                update = await self._source.next_update()
                if isinstance(update, SourceEnded):
                    self._reason = update.reason
                    return
                await self._show(update)
        except PommelError as failure:
            self._reason = failure.message
            raise
        finally:
            self._over.set()
            self._pulse()
            self._encodes.close()
            self._videos.close()

    async def serve(self, stream: ViewerStream, *, wheel_notch: int = NOTCH) -> None:
        """Serve one viewer until it leaves: send the Screen, a whole picture, then changes; pass its input to the sink.

        `wheel_notch` is the viewer's value for one notch (`intake.MESHCENTRAL_NOTCH` for MeshCentral's page). The
        stream of a view-only viewer must be wrapped in `wire.looking.Looking`.
        Every key and button that it holds is released at the end, whatever the reason.

        Raises:
            WireError: the viewer sent an invalid KVM command; the caller must close the stream.
        """
        intake = Intake(self._hold, wheel_notch=wheel_notch)
        with self._looking():
            delivery = Delivery(stream, self._engine, self._encodes, self._encoder, self._videos, stall_s=self._stall_s)
            viewer = Viewer(stream, delivery, self._sink, intake, self._answer, self._finder.expect)
            for fact in self._facts.values():
                delivery.backlog.queue_command(fact)
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
                            raise MachineError(f"the screen showed nothing: {self._reason}")
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

    async def _until_over(self) -> tuple[int, str]:
        await self._over.wait()
        return self._goodbye, self._reason

    def _answer(self, command: wire.Command) -> Iterable[wire.Command]:
        match command:
            case wire.SetDisplay(number) if number in _choice(self._displays):
                self._source.show_display(number)
            case wire.GetDisplays():
                return _about(self._displays)
            case wire.InputLock(wire.QUERY_LOCK):
                return (wire.InputLock(wire.UNLOCKED),)
        return ()

    async def _show(self, update: Update) -> None:
        changed, moved = await self._take(update)
        self._old = False
        news = self._news(update)
        self._facts |= {type(fact): fact for fact in news}
        if news or changed.tiles.any():
            now_s = asyncio.get_running_loop().time()
            self._videos.note((moved.rest if moved else changed).tiles, self._engine.size, now_s)
            for viewer in self._viewers:
                viewer.delivery.mark(changed, moved, self._engine.size, now_s)
                for fact in news:
                    viewer.delivery.backlog.queue_command(fact)
                viewer.delivery.wake()
        self._pulse()

    async def _take(self, update: Update) -> tuple[Changes, Moved | None]:
        """Take the new pixels; return what changed, and the same as moves and the rest, if anything moved."""
        self._finder.wanted = any(viewer.delivery.backlog.takes_moves for viewer in self._viewers)
        engine, frame, changed = self._engine, update.frame, update.changed
        if update.moved is not None or not engine.can_move(frame, changed):
            return engine.update(frame, update.damage, changed), update.moved
        where = touched(engine.size, update.damage) if changed is None else changed.tiles
        moves: tuple[MovedArea, ...] = ()
        if self._finder.is_due(where):
            moves = await asyncio.to_thread(self._finder.search, engine.frame, frame, where)
        if moves and changed is None:
            moved = engine.move(frame, update.damage, moves)
            return moved.changes(engine.size), moved
        rest = await asyncio.to_thread(rest_of, engine.frame, frame, moves, changed) if moves and changed else None
        return engine.update(frame, update.damage, changed), rest

    def _news(self, update: Update) -> list[wire.Command]:
        news: list[wire.Command] = []
        if update.cursor is not None:
            news.append(MouseCursor(update.cursor))
        elif update.pointer_visible is not None:
            news.append(MouseCursor(CursorShape.ARROW if update.pointer_visible else CursorShape.NONE))
        if update.pointer is not None and (pointer := _looks(update.pointer)) != self._facts[Pointer]:
            news.append(pointer)
        if update.relative is not None:
            news.append(self._mouse(relative=update.relative))
        if update.lock_keys is not None:
            news.append(KeyState(update.lock_keys))
        if update.displays is not None:
            self._displays = update.displays
            self._facts.pop(DisplayInfo, None)  # not sent when there is no choice any more
            news += _about(update.displays)
        return news

    def _mouse(self, *, relative: bool) -> MouseKind:
        return MouseKind((mouse.HAS_SIDES if self._sink.has_sides else 0) | (mouse.RELATIVE if relative else 0))

    def _pulse(self) -> None:
        """Wake all who wait for the next update."""
        now, self._next = self._next, asyncio.Event()
        now.set()


def _looks(picture: PointerPicture) -> Pointer:
    return Pointer(picture.width, picture.height, picture.hot_x, picture.hot_y, picture.rgba)


def _choice(displays: Displays) -> tuple[int, ...]:
    return (*(display.id for display in displays.all), ALL_DISPLAYS) if displays.all else ()


def _about(displays: Displays) -> tuple[wire.Command, ...]:
    """The commands about the displays: their positions first, in the order of MeshCentral's agents."""
    choice = _choice(displays)
    chosen = DisplayList(choice, displays.selected if choice else 0)
    return (DisplayInfo(displays.all), chosen) if displays.all else (chosen,)
