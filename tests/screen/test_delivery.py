from __future__ import annotations

import asyncio
from collections.abc import Callable

from pommel.screen.backlog import REST_S
from pommel.screen.delivery import Delivery
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.pace import FIRST_BYTES, LEAST_BYTES
from pommel.screen.pictures import Format
from pommel.wire import messages as wire

from .doubles import HIGH_WATER, Onlooker, until
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
        viewer = stage.join(Draining())
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
        viewer = stage.join(Draining())
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
        async with asyncio.timeout(1.0):
            await until(lambda: stage.shows(viewer))
