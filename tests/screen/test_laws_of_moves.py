"""Whatever moves, however slow a viewer is and whatever is in the making: it ends with exactly the last frame."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen import tiles
from pommel.screen.backlog import Backlog, Round
from pommel.screen.endpoint import Endpoint
from pommel.screen.frame import Frame, Pixels
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.move_search import MovedArea
from pommel.screen.moves import rest_of
from pommel.screen.pictures import Image, Style
from pommel.wire import messages as wire
from waits import until

from .doubles import MemorySink, Onlooker, PaintedSource, RawEncoder, Reel

# --- the backlog's part, in no time ---

SMALL = Size(200, 150)
ABLE = wire.Abilities(wire.ACKNOWLEDGES | wire.TAKES_MOVES | wire.TAKES_VIDEO)
FILM = Rect(0, 0, 128, 128)


class Mirror:
    """A viewer of a `Backlog`: pictures are of the moment they are begun, and moves come after what was begun."""

    def __init__(self) -> None:
        self.screen, self.canvas, self.number, self.now = Frame.blank(SMALL), Frame.blank(SMALL), 0, 1.0
        self.backlog = Backlog(SMALL)
        self.backlog.obey(ABLE)
        self.round: Round | None = None
        self.begun: deque[tuple[Rect, Pixels]] = deque()
        self.waiting: deque[Rect] = deque()
        self.told = 0

    def change(self, areas: list[Rect], moves: list[MovedArea]) -> None:
        """MovedArea, then draw; the viewer is told, as `Delivery.mark` does it."""
        old, self.number = self.screen.copy(), self.number + 1
        for move in moves:
            self.screen.copy_within(*move.source[:2], move.target)
        for area in areas:
            self.screen.view(area.clipped(SMALL))[:] = self.number
        changed = tiles.changed(old, self.screen, ~tiles.empty_map(SMALL))
        if not moves or not self.backlog.takes_moves:
            self.backlog.mark(changed, SMALL, self.now)
            return
        if self.round is not None:
            self.backlog.put_back(self.round, list(self.waiting))
            self.waiting.clear()
        self.backlog.mark_moved(rest_of(old, self.screen, tuple(moves), changed), self.now)

    def take(self, pixels: int | None, film: Rect | None = None) -> None:
        self.end()
        self.round = self.backlog.take(self.now, pixels, film=film)
        self._make(self.round.commands)
        self.waiting.extend(self.round.areas)
        if self.round.film:
            self.canvas.view(self.round.film)[:] = 255

    def _make(self, commands: tuple[wire.Command, ...]) -> None:
        for command in commands:
            if isinstance(command, wire.Move):
                self.told += 1
                self.canvas.copy_within(
                    command.x, command.y, Rect(command.to_x, command.to_y, command.width, command.height)
                )

    def begin(self, most: int = 99) -> None:
        for _ in range(min(most, len(self.waiting))):
            area = self.waiting.popleft()
            self.begun.append((area, self.screen.view(area).copy()))

    def show(self, most: int = 99) -> None:
        for _ in range(min(most, len(self.begun))):
            area, pixels = self.begun.popleft()
            assert self.round is not None
            is_exact = self.round.style.best or area.width % 2
            self.canvas.view(area)[:] = pixels if is_exact else pixels ^ 128
            if is_exact:
                self.backlog.sent_exactly(area, self.round)

    def end(self, *, lost: bool = False) -> None:
        """End the serving; with `lost` what was begun is not sent after all, which only a pause does."""
        if not lost:
            self.show()
        if self.round is not None:
            self.backlog.put_back(self.round, [*(area for area, _ in self.begun), *self.waiting])
        self.begun.clear()
        self.waiting.clear()
        self.round = None

    def pause(self) -> None:
        self.backlog.obey(wire.Pause(True))
        self.end(lost=True)

    def rest(self) -> None:
        if self.backlog.paused:
            self.backlog.obey(wire.Pause(False))
        self.end()
        while (due_s := self.backlog.due_in(self.now)) is not None:
            self.now += due_s + 0.001
            self.take(None)
            self.begin()
        self.end()


def placed(x: int, y: int, width: int, height: int, dx: int, dy: int) -> MovedArea:
    """Return a move whose source and target are in the picture."""
    x, y = min(max(x, dx), 199 + min(dx, 0)), min(max(y, dy), 149 + min(dy, 0))
    width, height = min(width, 200 - x, 200 - x + dx), min(height, 150 - y, 150 - y + dy)
    return MovedArea(Rect(x, y, max(width, 1), max(height, 1)), dx, dy)


rects = st.builds(Rect, st.integers(0, 199), st.integers(0, 149), st.integers(1, 200), st.integers(1, 150))
step = st.sampled_from([0, 0, 1, -1, 12, -12, 40, -53, 64, -64])
moves = st.builds(
    placed, st.integers(0, 199), st.integers(0, 149), st.integers(20, 200), st.integers(20, 150), step, step
)
works = st.lists(
    st.one_of(
        st.tuples(st.just("draw"), st.lists(rects, min_size=1, max_size=2)),
        st.tuples(st.just("move"), st.tuples(st.lists(moves, min_size=1, max_size=3), st.lists(rects, max_size=1))),
        st.tuples(st.just("move"), st.tuples(st.lists(moves, min_size=1, max_size=3), st.lists(rects, max_size=1))),
        st.tuples(st.just("take"), st.tuples(st.sampled_from([None, 1, 4096, 9000]), st.integers(0, 9))),
        st.tuples(st.just("take"), st.tuples(st.sampled_from([None, 1, 4096, 9000]), st.integers(0, 9))),
        st.tuples(st.just("film"), st.none()),
        st.tuples(st.just("show"), st.integers(1, 9)),
        st.tuples(st.just("pause"), st.none()),
        st.tuples(st.just("go on"), st.none()),
        st.tuples(st.just("cannot"), st.none()),
        st.tuples(st.just("lag"), st.sampled_from([5, 40])),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.3, 1.0])),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=300)
@given(works)
def test_whatever_moves_a_lagging_viewer_ends_with_every_pixel(script) -> None:
    mirror = Mirror()
    mirror.rest()
    for what, how in script:
        mirror.now += 0.03
        match what:
            case "draw":
                mirror.change(how, [])
            case "move":
                mirror.change(how[1], how[0])
            case "take":
                mirror.take(how[0])
                mirror.begin(how[1])
            case "film":
                mirror.take(None, FILM)
            case "show":
                mirror.show(how)
            case "pause":
                mirror.pause()
            case "go on":
                mirror.backlog.obey(wire.Pause(False))
            case "cannot":
                mirror.backlog.obey(wire.Abilities(wire.ACKNOWLEDGES))
                mirror.backlog.obey(ABLE)
            case "lag":
                for _ in range(how):
                    mirror.change([], [MovedArea(Rect(0, 0, 200, 147), 0, -3)])
            case "wait":
                mirror.now += how
    mirror.rest()
    assert np.array_equal(mirror.canvas.pixels, mirror.screen.pixels)


def test_what_is_revealed_by_moves_in_a_row_is_missing_and_nothing_else() -> None:
    mirror = Mirror()
    mirror.rest()
    for _ in range(5):
        mirror.change([Rect(0, 138, 200, 12)], [MovedArea(Rect(0, 0, 200, 138), 0, -12)])
    mirror.now += 1
    mirror.take(None)
    assert mirror.told == 5
    assert {(area.x, area.right) for area in mirror.waiting} == {(0, 200)}
    assert sum(area.height for area in mirror.waiting) == 60


# --- the whole of it ---

SCREEN = Size(448, 330)
areas = st.sampled_from([whole(SCREEN), Rect(0, 40, 448, 290), Rect(30, 21, 330, 300), Rect(100, 0, 290, 330)])
deltas = st.sampled_from([(0, -12), (0, -12), (0, 7), (0, -64), (0, 100), (-16, 0), (9, 0), (0, -1)])
ops = st.lists(
    st.one_of(
        st.tuples(st.just("scroll"), st.tuples(areas, deltas)),
        st.tuples(st.just("scroll"), st.tuples(areas, deltas)),
        st.tuples(st.just("scroll"), st.tuples(areas, deltas)),
        st.tuples(st.just("paint"), st.builds(Rect, *(st.integers(0, n) for n in (447, 329, 90, 90)))),
        st.tuples(st.just("read"), st.tuples(st.integers(0, 2), st.sampled_from([1, 2, 6]))),
        st.tuples(st.just("pause"), st.tuples(st.integers(0, 2), st.booleans())),
        st.tuples(st.just("refresh"), st.tuples(st.integers(0, 2), st.none())),
        st.tuples(st.just("wait"), st.sampled_from([0.001, 0.005, 0.02])),
    ),
    min_size=5,
    max_size=40,
)


class SlowEncoder(RawEncoder):
    """Takes so long that the screen goes on meanwhile."""

    def encode(self, pixels: Pixels, style: Style) -> Image:
        time.sleep(random.choice((0.0, 0.002, 0.012)))
        return super().encode(pixels, style)


@settings(deadline=None, max_examples=25)
@given(ops)
def test_whatever_scrolls_each_viewer_ends_with_exactly_the_last_frame(script) -> None:
    asyncio.run(_play(script))


async def _play(script) -> None:
    source = PaintedSource(SCREEN)
    endpoint = Endpoint(source, MemorySink(), encoder=SlowEncoder(), video=Reel)
    source.paint(whole(SCREEN), 99)
    quick, lags, plain = (
        Onlooker(moves=True), Onlooker(moves=True, acknowledges=True, reads=False), Onlooker(acknowledges=True)
    )  # fmt: skip
    viewers = [quick, lags, plain]
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(endpoint.run())
        for viewer in viewers:
            tasks.create_task(endpoint.serve(viewer))
        await until(lambda: bool(plain.commands))
        for seed, (what, how) in enumerate(script):
            await _step(source, viewers, seed, what, how)
        for viewer in viewers:
            viewer.reads = True
            viewer.read()
            viewer.say(wire.Pause(False))
            viewer.acknowledge()
        for viewer in viewers:
            await until(lambda one=viewer: np.array_equal(one.canvas, source.frame.pixels))
        assert not plain.of(wire.Move)
        for viewer in viewers:
            viewer.leave()
        run.cancel()


async def _step(source: PaintedSource, viewers: list[Onlooker], seed: int, what: str, how) -> None:
    match what:
        case "scroll":
            area, (dx, dy) = how
            source.scroll(area, dx, dy, seed)
            await asyncio.sleep(0.004)
        case "paint":
            source.paint(how, seed)
        case "read":
            viewers[how[0]].read(how[1])
        case "pause":
            viewers[how[0]].say(wire.Pause(how[1]))
        case "refresh":
            viewers[how[0]].say(wire.Refresh())
        case "wait":
            await asyncio.sleep(how)


class Gate(RawEncoder):
    """Keeps large pictures in the making until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.shut, self.entered, self.opened = False, threading.Event(), threading.Event()

    def encode(self, pixels: Pixels, style: Style) -> Image:
        if self.shut and threading.current_thread() is not threading.main_thread():
            self.entered.set()
            self.opened.wait(20)
        return super().encode(pixels, style)


async def test_a_move_while_a_picture_is_in_the_making_and_another_waits() -> None:
    source, encoder = PaintedSource(SCREEN), Gate()
    source.paint(whole(SCREEN), 99)
    endpoint = Endpoint(source, MemorySink(), encoder=encoder)
    viewer = Onlooker(moves=True)
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(endpoint.run())
        tasks.create_task(endpoint.serve(viewer))
        await until(lambda: np.array_equal(viewer.canvas, source.frame.pixels))
        encoder.shut = True
        source.paint(Rect(0, 0, 448, 200), 1)
        source.paint(Rect(300, 260, 60, 40), 2)  # so small that it is made when its turn comes
        await until(encoder.entered.is_set)
        viewer.say(wire.MouseWheel(5, 5, -120))
        await asyncio.sleep(0.05)
        asked = source.asked
        source.scroll(whole(SCREEN), 0, -12, 3)
        await until(lambda: source.asked > asked)
        encoder.opened.set()
        await until(lambda: np.array_equal(viewer.canvas, source.frame.pixels), 15)
        pictures = [type(one) for one in viewer.commands]
        assert wire.Picture in pictures[: pictures.index(wire.Move)][-1:], "what was begun leaves before the move"
        viewer.leave()
        run.cancel()


async def test_what_scrolls_comes_as_moves_to_who_takes_them_and_only_what_is_new_as_pictures() -> None:
    source = PaintedSource(SCREEN)
    source.paint(whole(SCREEN), 99)
    endpoint = Endpoint(source, MemorySink(), encoder=RawEncoder())
    takes, plain, small = Onlooker(moves=True), Onlooker(), Onlooker(moves=True)
    small.say(wire.Compression(1, 50, 512, 20))
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(endpoint.run())
        for viewer in (takes, plain, small):
            tasks.create_task(endpoint.serve(viewer))
        for viewer in (takes, plain):
            await until(lambda one=viewer: np.array_equal(one.canvas, source.frame.pixels))
        first = len(takes.commands)
        for seed in range(10):
            source.scroll(whole(SCREEN), 0, -12, seed)
            for viewer in (takes, plain):
                await until(lambda one=viewer: np.array_equal(one.canvas, source.frame.pixels))
        pictures = [one for one in takes.commands[first:] if isinstance(one, wire.Picture)]
        assert takes.of(wire.Move) == [wire.Move(0, 12, 448, 318, 0, 0)] * 10
        assert sum(len(one.image) for one in pictures) < 10 * 4 * 448 * 14
        assert plain.of(wire.Move) == small.of(wire.Move) == []
        for viewer in (takes, plain, small):
            viewer.leave()
        run.cancel()
