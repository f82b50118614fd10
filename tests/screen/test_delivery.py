from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable

import numpy as np

from isolation import patient
from pommel.screen.backlog import REST_S
from pommel.screen.delivery import Delivery
from pommel.screen.frame import Pixels
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.pace import FIRST_BYTES, LEAST_BYTES
from pommel.screen.pictures import Format, Image, Style
from pommel.screen.scaling import Scaling
from pommel.wire import messages as wire
from waits import until

from .doubles import HIGH_WATER, Onlooker
from .test_endpoint import SIZE, Stage, shown, staged

LARGE = Size(1280, 720)  # raw: 3.7 MB


def delivery_of(stage: Stage) -> Delivery:
    (viewer,) = stage.endpoint._viewers
    return viewer.delivery


class Draining(Onlooker):
    """An onlooker that tells when it has read."""

    def __init__(self) -> None:
        super().__init__(reads=False)
        self.asked: list[int] = []
        self._call: Callable[[], None] | None = None

    async def send(self, data: bytes) -> None:
        self.take(data)

    def call_when_drained(self, below: int, call: Callable[[], None]) -> None:
        self.asked.append(below)
        self._call = call

    def read(self, count: int | None = None) -> None:
        super().read(count)
        call, self._call = self._call, None
        if call:
            call()


# --- a screen at rest ---


async def test_a_still_screen_ends_exact_and_then_nothing_is_sent() -> None:
    async with staged(lossy=True) as stage:
        viewer = stage.join(Onlooker())
        await until(lambda: stage.shows(viewer))
        assert [style.best for style in stage.encoder.styles] == [False, True]
        stage.source.paint(whole(SIZE), 3)
        painted = asyncio.get_running_loop().time()
        await until(lambda: stage.shows(viewer))
        assert asyncio.get_running_loop().time() - painted >= REST_S
        count = len(viewer.commands)
        await asyncio.sleep(REST_S + 0.1)
        assert len(viewer.commands) == count
        assert delivery_of(stage).backlog.due_in(asyncio.get_running_loop().time()) is None


async def test_what_moves_is_not_refined_and_what_rests_beside_it_is() -> None:
    async with staged(lossy=True) as stage:
        viewer = await shown(stage)
        stage.encoder.styles.clear()
        moving, resting = Rect(0, 0, 10, 10), Rect(130, 70, 10, 10)
        stage.source.paint(resting, 1)
        for seed in range(12):
            stage.source.paint(moving, seed)
            await asyncio.sleep(REST_S / 8)
        assert sum(style.best for style in stage.encoder.styles) == 1
        there = viewer.canvas[70:80, 130:140]
        assert (there == stage.source.frame.view(resting)).all()
        await until(lambda: stage.shows(viewer))


async def test_who_asked_for_little_is_not_sent_anything_twice_unless_it_is_ours() -> None:
    async with staged(lossy=True) as stage:
        foreign, ours = stage.join(Onlooker()), stage.join(Onlooker(acknowledges=True))
        for viewer in (foreign, ours):
            viewer.say(wire.Compression(1, 20, 1024, 20))
        await until(lambda: stage.shows(ours))
        await asyncio.sleep(REST_S + 0.1)
        assert not stage.shows(foreign) and foreign.shown < ours.shown


async def test_refinement_waits_until_all_else_was_seen() -> None:
    async with staged(lossy=True) as stage:
        viewer = stage.join(Onlooker(acknowledges=True, prompt=False))
        await until(lambda: viewer.shown)
        await asyncio.sleep(REST_S + 0.1)
        assert not any(style.best for style in stage.encoder.styles)
        viewer.prompt = True
        viewer.acknowledge()
        await until(lambda: stage.shows(viewer))


async def test_a_change_does_not_wait_for_refinement() -> None:
    async with staged(lossy=True) as stage:
        stage.source.resize(LARGE, 1)
        viewer = Draining()
        stage.join(viewer)
        await until(lambda: viewer.unsent_bytes())
        while not any(style.best for style in stage.encoder.styles):
            viewer.read()
            await asyncio.sleep(0.01)
        seen, before = viewer.shown, len(stage.encoder.styles)
        stage.source.paint(Rect(0, 0, 5, 5), 9)
        while not any(not style.best for style in stage.encoder.styles[before:]):
            viewer.read(1)
            await asyncio.sleep(0.002)
        assert viewer.shown - seen <= 3
        viewer.reads = True
        viewer.read()


async def test_what_the_viewer_takes_reaches_the_encoder() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        for said, format in (
            (wire.Compression(wire.ImageFormat.WEBP, 51), Format.WEBP),
            (wire.Compression(wire.ImageFormat.PNG, 52), Format.PNG),
            (wire.Compression(wire.ImageFormat.TIFF, 53), Format.JPEG),
            (wire.Compression(wire.ImageFormat.JPEG, 54), Format.JPEG),
            (wire.Abilities(wire.TAKES_PNG), Format.PNG),
            (wire.Abilities(wire.TAKES_PNG | wire.TAKES_WEBP), Format.WEBP),
        ):
            viewer.say(said)
            await asyncio.sleep(0.01)
            stage.encoder.styles.clear()
            stage.source.paint(Rect(0, 0, 5, 5), hash(said) % 1000)
            await until(lambda: stage.shows(viewer))
            assert {style.format for style in stage.encoder.styles} == {format}


# --- a link that is not quick enough ---


async def test_no_more_is_on_its_way_than_the_window_and_one_picture() -> None:
    async with staged() as stage:
        stage.source.resize(LARGE, 1)
        viewer = stage.join(Onlooker(acknowledges=True, prompt=False))
        await until(lambda: viewer.shown)
        await asyncio.sleep(0.1)
        sent = sum(len(one.image) for one in viewer.of(wire.Picture))
        assert sent <= FIRST_BYTES + viewer.largest
        count = viewer.shown
        for seed in range(5):
            stage.source.paint(whole(LARGE), seed)
            await asyncio.sleep(0.01)
        assert viewer.shown == count
        viewer.prompt = True
        viewer.acknowledge()
        await until(lambda: stage.shows(viewer))


async def test_a_viewer_that_falls_silent_but_reads_is_served_all_the_same() -> None:
    async with staged(stall_s=0.2) as stage:
        stage.source.resize(LARGE, 1)
        viewer = stage.join(Onlooker(acknowledges=True, prompt=False))
        await until(lambda: viewer.shown)
        count = viewer.shown
        await until(lambda: viewer.shown > count)  # a second later
        assert viewer.closed is None


async def test_a_stream_that_tells_when_it_has_drained_is_not_asked_again_and_again() -> None:
    async with staged() as stage:
        stage.source.resize(LARGE, 1)
        viewer = Draining()
        stage.join(viewer)
        await until(lambda: viewer.asked)
        for seed in range(20):
            stage.source.paint(whole(LARGE), seed)
            await asyncio.sleep(0.01)
        asked = len(viewer.asked)
        assert asked <= 3 * 21  # at most for each change, which wakes it too
        await asyncio.sleep(0.2)
        assert len(viewer.asked) == asked
        assert all(0 < below <= FIRST_BYTES for below in viewer.asked)
        viewer.reads = True
        viewer.read()
        await until(lambda: stage.shows(viewer))


async def test_quality_drops_for_a_slow_viewer_alone_and_comes_back() -> None:
    async with staged() as stage:
        slow, quick = stage.join(Onlooker(reads=False)), stage.join(Onlooker())
        stage.source.resize(LARGE, 1)
        for seed in range(40):
            stage.source.paint(whole(LARGE), seed)
            await asyncio.sleep(0.02)
            slow.read(1)
        qualities = {style.quality for style in stage.encoder.styles}
        assert max(qualities) == 50 and min(qualities) < 40
        assert all(style.quality < 50 for style in stage.encoder.styles if style.tight)
        await until(lambda: stage.shows(quick))
        slow.reads = True
        slow.read()
        await until(lambda: stage.shows(slow))
        for seed in range(40, 50):
            stage.source.paint(Rect(0, 0, 64, 64), seed)
            await asyncio.sleep(0.03)
        assert stage.encoder.styles[-1].quality == 50


async def test_pressed_servings_are_small() -> None:
    async with staged() as stage:
        stage.source.resize(LARGE, 1)
        slow = stage.join(Onlooker(reads=False))
        for seed in range(30):
            stage.source.paint(whole(LARGE), seed)
            await asyncio.sleep(0.02)
            slow.read(1)
        last = slow.of(wire.Picture)[-1]
        assert isinstance(last, wire.Picture) and len(last.image) < LARGE.width * 64 * 4 + 64
        assert delivery_of(stage)._pace.window < FIRST_BYTES * 4
        assert delivery_of(stage)._pace.window >= LEAST_BYTES
        assert slow.most_unsent <= HIGH_WATER + slow.largest


async def test_a_first_change_after_rest_goes_at_once() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        backlog = delivery_of(stage).backlog
        viewer.say(wire.FrameRateTimer(5000))
        await asyncio.sleep(0.05)
        backlog._next_s = 0.0  # as if five seconds had gone
        stage.source.paint(whole(SIZE), 3)
        async with asyncio.timeout(patient(1.0)):
            await until(lambda: stage.shows(viewer))


async def test_what_is_little_of_a_serving_is_encoded_here_and_a_thread_has_the_rest() -> None:
    async with staged() as stage:
        stage.source.resize(LARGE, 1)
        viewer = await shown(stage)
        where: dict[tuple[int, ...], bool] = {}
        encode = stage.encoder.encode

        def noted(pixels: Pixels, style: Style) -> Image:
            where[pixels.shape[:2]] = threading.current_thread() is threading.main_thread()
            return encode(pixels, style)

        stage.encoder.encode = noted
        stage.source.paint(Rect(10, 10, 30, 20), 2)
        stage.source.paint(Rect(200, 200, 400, 300), 2)
        await until(lambda: stage.shows(viewer))
        assert where.pop((20, 30))
        assert not any(here for (height, width), here in where.items() if height * width > 20 * 1024)
        assert any(height >= 64 for height, _ in where)


def edges_of(viewer: Onlooker) -> set[int]:
    """Where its pictures begin and end, in pixels."""
    found = set()
    for picture in viewer.of(wire.Picture):
        assert isinstance(picture, wire.Picture)
        width, height = struct.unpack(">II", picture.image[:8])
        found |= {picture.x, picture.y, picture.x + width, picture.y + height}
    return found


async def test_who_wants_whole_blocks_gets_no_others_and_past_the_edge_its_last_pixels() -> None:
    async with staged() as stage:
        viewer = Onlooker()
        viewer.past_the_edge = True
        viewer.say(wire.Abilities(wire.WANTS_BLOCKS))
        stage.join(viewer)
        await until(lambda: stage.shows(viewer))
        other = await shown(stage)
        for seed, rect in enumerate((Rect(3, 5, 7, 9), Rect(150, 100, 50, 40), Rect(199, 139, 1, 1))):
            stage.source.paint(rect, seed)
            await until(lambda: stage.shows(viewer) and stage.shows(other))
        assert not any(edge % wire.BLOCK for edge in edges_of(viewer))
        assert {208, 144} <= edges_of(viewer) and max(edges_of(other)) == SIZE.width
        last = viewer.of(wire.Picture)[-1]
        assert isinstance(last, wire.Picture)
        beyond = np.frombuffer(last.image, np.uint8, offset=8).reshape(16, 16, 4)[SIZE.height % 16 - 1 :, 7:]
        assert (beyond == stage.source.frame.pixels[-1, -1]).all()


async def test_whole_blocks_of_a_scaled_picture() -> None:
    async with staged() as stage:
        viewer = Onlooker()
        viewer.past_the_edge = True
        viewer.say(wire.Abilities(wire.WANTS_BLOCKS), wire.Compression(1, 50, 512, 20))
        stage.join(viewer)
        await until(lambda: viewer.canvas.shape[:2] == (70, 100) and viewer.canvas.any())
        stage.source.paint(Rect(190, 130, 10, 10), 5)
        count = len(viewer.of(wire.Picture))
        await until(lambda: len(viewer.of(wire.Picture)) > count)
        assert not any(edge % wire.BLOCK for edge in edges_of(viewer))


async def test_who_says_late_that_it_wants_whole_blocks_gets_all_anew() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        viewer.past_the_edge = True
        viewer.commands.clear()
        viewer.canvas[:] = 0
        viewer.say(wire.Abilities(wire.WANTS_BLOCKS))
        await until(lambda: stage.shows(viewer))
        assert not any(edge % wire.BLOCK for edge in edges_of(viewer))


async def test_a_scaled_block_that_reaches_into_what_was_exact_is_made_exact_again() -> None:
    async with staged(lossy=True) as stage:
        viewer = Onlooker()
        viewer.past_the_edge = True
        scaling = Scaling(SIZE, 700)
        viewer.say(wire.Abilities(wire.WANTS_BLOCKS), wire.Compression(1, 50, 700, 20))
        stage.join(viewer)

        def is_exact() -> bool:
            shown = scaling.render(stage.source.frame, whole(scaling.picture))
            return viewer.canvas.shape == shown.shape and bool((viewer.canvas == shown).all())

        await until(is_exact)
        for seed, x in enumerate((60, 64, 124, 128, 190)):
            stage.source.paint(Rect(x, 62, 4, 4), seed)
            await until(is_exact)
