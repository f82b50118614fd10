"""Stand-ins at the screen's four seams: a painted source, a sink that remembers, a lossless encoder, an onlooker."""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable

import numpy as np

from pommel.screen.actions import Action, TypeText
from pommel.screen.frame import Frame, Pixels
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.pictures import Image, Style
from pommel.screen.pointer import PointerPicture
from pommel.screen.seams import Displays, SourceEnded, Update
from pommel.screen.video import EncodedFrame
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Direction

HIGH_WATER = 64 << 10


class PaintedSource:
    """A screen the test paints on. Its first update is whole, and watching it makes it answer."""

    def __init__(self, size: Size) -> None:
        self.frame = Frame.blank(size)
        self.watched = False
        self.asked = 0
        self._damage: list[Rect] | None = [whole(size)]
        self._pointer: bool | None = None
        self._picture: PointerPicture | None = None
        self._lock_keys: int | None = None
        self._relative: bool | None = None
        self._all_displays: tuple[wire.Display, ...] = ()
        self._displays: Displays | None = None
        self.selected: list[int] = []
        self._ended: SourceEnded | Exception | None = None
        self._news = asyncio.Event()

    def paint(self, rect: Rect, seed: int, damage: Rect | None = None) -> None:
        rect = rect.clipped(self.frame.size)
        noise = np.random.default_rng(seed).integers(0, 256, (rect.height, rect.width, 4), np.uint8)
        self.frame.view(rect)[:] = noise
        self._damage = [*(self._damage or []), damage or rect]
        self._news.set()

    def scroll(self, area: Rect, dx: int, dy: int, seed: int) -> None:
        """Move what `area` shows, and draw what comes in at its edge."""
        target = Rect(area.x + max(dx, 0), area.y + max(dy, 0), area.width - abs(dx), area.height - abs(dy))
        self.frame.copy_within(target.x - dx, target.y - dy, target)
        self.paint(Rect(area.x, area.bottom + dy if dy < 0 else area.y, area.width, abs(dy)), seed, damage=area)
        self.paint(Rect(area.right + dx if dx < 0 else area.x, area.y, abs(dx), area.height), seed, damage=area)

    def resize(self, size: Size, seed: int) -> None:
        self.frame = Frame.blank(size)
        self._damage = []
        self.paint(whole(size), seed)

    def set_pointer(self, visible: bool) -> None:
        self._pointer = visible
        self._news.set()

    def set_picture(self, picture: PointerPicture) -> None:
        self._picture = picture
        self._news.set()

    def set_lock_keys(self, bits: int) -> None:
        self._lock_keys = bits
        self._news.set()

    def set_relative(self, relative: bool) -> None:
        self._relative = relative
        self._news.set()

    def end(self, how: SourceEnded | Exception) -> None:
        self._ended = how
        self._news.set()

    async def next_update(self) -> Update | SourceEnded:
        self.asked += 1
        while all(news is None for news in (
            self._damage, self._pointer, self._picture, self._lock_keys, self._displays, self._relative,
        )):  # fmt: skip
            if isinstance(self._ended, Exception):
                raise self._ended
            if self._ended is not None:
                return self._ended
            self._news.clear()
            await self._news.wait()
        damage = tuple(self._damage or ())
        update = Update(
            self.frame, damage, self._pointer, self._lock_keys, pointer=self._picture, displays=self._displays,
            relative=self._relative,
        )  # fmt: skip
        self._damage = self._pointer = self._picture = self._lock_keys = self._displays = self._relative = None
        return update

    def watch(self, watched: bool) -> None:
        self.watched = watched
        if watched:
            self._damage = self._damage or []
            self._news.set()

    def show_display(self, number: int) -> None:
        self.selected.append(number)
        self._displays = Displays(self._all_displays, number)
        self._news.set()

    def set_displays(self, *displays: wire.Display) -> None:
        self._all_displays = displays
        self._displays = Displays(displays)
        self._news.set()

    def shows_something(self, frame: Frame) -> bool:
        return not frame.is_plain(whole(frame.size))


class MemorySink:
    """Remembers what it was told; cannot type anything beyond ASCII."""

    has_sides = True

    def __init__(self) -> None:
        self.done: list[Action] = []

    async def perform(self, action: Action) -> str:
        if isinstance(action, TypeText) and not action.text.isascii():
            return action.text
        self.done.append(action)
        return ""

    def release(self, actions: Iterable[Action]) -> None:
        self.done.extend(actions)


class RawEncoder:
    """Pictures that lose nothing: width and height, then the pixels. With `lossy` all but the best lose their low bits."""

    def __init__(self, *, lossy: bool = False) -> None:
        self.lossy = lossy
        self.count = 0
        self.styles: list[Style] = []

    def encode(self, pixels: Pixels, style: Style) -> Image:
        self.count += 1
        self.styles.append(style)
        fine = style.best or not self.lossy
        shown = pixels if fine else pixels & 0xF0
        return Image(struct.pack(">II", pixels.shape[1], pixels.shape[0]) + shown.tobytes(), fine)


class Reel:
    """A `VideoEncoder` whose chunks name it, their own number, and whether they are key frames."""

    _count = itertools.count()

    def __init__(self, width: int, height: int, crf: int) -> None:
        self.name = next(Reel._count)
        self.shape = (height, width)
        self.crf = crf
        self.seen: list[bytes] = []

    def encode(self, pixels: Pixels, *, key: bool) -> EncodedFrame:
        assert pixels.shape[:2] == self.shape
        is_key = key or not self.seen
        self.seen.append(struct.pack(">II?", self.name, len(self.seen), is_key))
        return EncodedFrame(self.seen[-1], is_key)

    @staticmethod
    def read(chunk: bytes) -> tuple[int, int, bool]:
        return struct.unpack(">II?", chunk)


class Onlooker:
    """A viewer: keeps its end of the transport, and draws what it reads on a canvas."""

    def __init__(
        self, *, reads: bool = True, acknowledges: bool = False, prompt: bool = True, moves: bool = False
    ) -> None:
        self.reads = reads
        self.prompt = prompt  # says at once what it has drawn
        self.shown = 0
        self.canvas = np.zeros((0, 0, 4), np.uint8)
        self.commands: list[wire.Command] = []
        self.texts: list[str] = []
        self.films: list[wire.Video] = []
        self.closed: tuple[int, str] | None = None
        self.most_unsent = 0
        self.largest = 0
        self._gone = False
        self._sent: deque[bytes] = deque()
        self._unsent = 0
        self._room = asyncio.Event()
        self._inbound: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._acknowledges = acknowledges
        self.past_the_edge = False  # may a picture reach there?
        if acknowledges or moves:
            self.say(wire.Abilities(wire.ACKNOWLEDGES * acknowledges | wire.TAKES_MOVES * moves))

    # what the endpoint sees

    async def send(self, data: bytes) -> None:
        self.take(data)
        while self._unsent > HIGH_WATER:
            self._room.clear()
            await self._room.wait()
            if self._gone:
                raise ConnectionResetError("gone")

    def take(self, data: bytes) -> None:
        if self._gone:
            raise ConnectionResetError("gone")
        self._sent.append(data)
        self._unsent += len(data)
        self.largest = max(self.largest, len(data))
        self.most_unsent = max(self.most_unsent, self._unsent)
        if self.reads:
            self.read()

    async def send_text(self, text: str) -> None:
        self.texts.append(text)

    def unsent_bytes(self) -> int:
        return self._unsent

    async def messages(self) -> AsyncIterator[bytes]:
        while (data := await self._inbound.get()) is not None:
            yield data

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)
        self.leave()

    # what the test does

    def say(self, *commands: wire.Command) -> None:
        for command in commands:
            self._inbound.put_nowait(encode(command))

    def say_bytes(self, data: bytes) -> None:
        self._inbound.put_nowait(data)

    def leave(self) -> None:
        self._gone = True
        self._room.set()
        self._inbound.put_nowait(None)

    @property
    def waiting(self) -> int:
        """How many commands wait to be read."""
        return len(self._sent)

    def read(self, count: int | None = None) -> None:
        for _ in range(len(self._sent) if count is None else min(count, len(self._sent))):
            data = self._sent.popleft()
            self._unsent -= len(data)
            self._draw(_only_command(data))
        self._room.set()

    def acknowledge(self, less: int = 0) -> None:
        """Say what was drawn, or an old count."""
        if self._acknowledges:
            self.say(wire.Shown((self.shown - less) % 2**32))

    def of(self, kind: type) -> list[wire.Command]:
        return [command for command in self.commands if isinstance(command, kind)]

    def _draw(self, command: wire.Command) -> None:
        self.commands.append(command)
        match command:
            case wire.Screen(width, height):
                if self.canvas.shape[:2] != (height, width):
                    self.canvas = np.zeros((height, width, 4), np.uint8)
            case wire.Video():
                self.shown += 1
                self.films.append(command)
                area = Rect(command.x, command.y, command.width, command.height)
                self.canvas[area.y : area.bottom, area.x : area.right] = 0x55  # nobody is to be content with that
                if self.prompt:
                    self.acknowledge()
            case wire.Move(x, y, width, height, to_x, to_y):
                assert Rect(x, y, width, height).within(Size(*self.canvas.shape[1::-1]))
                Frame(self.canvas).copy_within(x, y, Rect(to_x, to_y, width, height))
            case wire.Picture(x, y, image):
                self.shown += 1
                if self.prompt:
                    self.acknowledge()
                if image[:2] == b"\xff\xd8":
                    return
                width, height = struct.unpack(">II", image[:8])
                assert self.canvas.size, "a Screen comes before the first Picture"
                pixels = np.frombuffer(image, np.uint8, offset=8).reshape(height, width, 4)
                place = self.canvas[y : y + height, x : x + width]
                assert self.past_the_edge or place.shape == pixels.shape
                place[:] = pixels[: place.shape[0], : place.shape[1]]


def _only_command(data: bytes) -> wire.Command:
    decoder = Decoder(Direction.TO_VIEWER)
    decoder.receive_data(data)
    decoder.receive_eof()
    (command,) = decoder.events()  # one command a message, whole
    return command
