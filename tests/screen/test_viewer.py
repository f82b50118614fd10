from __future__ import annotations

import asyncio

from pommel.screen.geometry import Size, whole
from pommel.screen.seams import SourceEnded
from pommel.wire import messages as wire
from waits import until

from .doubles import HIGH_WATER, Onlooker
from .test_endpoint import shown, staged


async def test_a_viewer_that_does_not_read_is_parted_from_and_costs_little_till_then() -> None:
    async with staged(stall_s=0.3) as stage:
        stage.source.resize(Size(640, 480), 1)
        stuck, fine = stage.join(Onlooker(reads=False)), stage.join(Onlooker())
        for seed in range(40):
            stage.source.paint(whole(Size(640, 480)), seed)
            await asyncio.sleep(0.005)
        await until(lambda: stuck.closed)
        assert stuck.closed == (1008, "this viewer has not read for 0.3 s")
        assert stuck.most_unsent <= HIGH_WATER + stuck.largest
        await until(lambda: stage.shows(fine))
        assert stage.endpoint.viewers == 1


async def test_a_slow_reader_is_kept_as_long_as_it_reads() -> None:
    async with staged(stall_s=0.6) as stage:
        stage.source.resize(Size(500, 500), 1)
        slow = stage.join(Onlooker(reads=False))
        for seed in range(30):
            stage.source.paint(whole(Size(500, 500)), seed)
            await asyncio.sleep(0.03)
            slow.read(1)
        assert slow.closed is None
        slow.reads = True
        slow.read()
        await until(lambda: stage.shows(slow))


async def test_a_slow_reader_gets_the_newest_picture_not_every_one() -> None:
    async with staged() as stage:
        slow = await shown(stage)
        slow.reads = False
        before = len(slow.of(wire.Picture))
        for seed in range(100):
            stage.source.paint(whole(stage.source.frame.size), seed)
            await asyncio.sleep(0.001)
        slow.reads = True
        slow.read()
        await until(lambda: stage.shows(slow))
        assert len(slow.of(wire.Picture)) - before < 10


async def test_a_viewer_that_vanishes_while_being_sent_to_ends_quietly() -> None:
    async with staged() as stage:
        stage.source.resize(Size(640, 480), 1)
        viewer = stage.join(Onlooker(reads=False))
        await until(lambda: viewer.unsent_bytes() > HIGH_WATER)
        await stage.leave(viewer)
        assert viewer.closed is None and stage.endpoint.viewers == 0


async def test_a_paused_viewer_is_sent_nothing_and_never_parted_from() -> None:
    async with staged(stall_s=0.05) as stage:
        viewer = await shown(stage)
        viewer.say(wire.Pause(True))
        await asyncio.sleep(0.03)
        count = len(viewer.commands)
        for seed in range(10):
            stage.source.paint(whole(stage.source.frame.size), seed)
            await asyncio.sleep(0.01)
        assert len(viewer.commands) == count and viewer.closed is None
        viewer.say(wire.Pause(False))
        await until(lambda: stage.shows(viewer))


async def test_the_frame_timer_is_kept() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        viewer.say(wire.Compression(1, 50, 1024, 5000))
        stage.source.paint(whole(stage.source.frame.size), 1)
        await until(lambda: stage.shows(viewer))
        stage.source.paint(whole(stage.source.frame.size), 2)
        await asyncio.sleep(0.1)
        assert not stage.shows(viewer)
        viewer.say(wire.FrameRateTimer(20), wire.Refresh())


async def test_a_long_reason_is_cut_to_what_a_close_frame_holds() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        stage.source.end(SourceEnded("ä" * 200))
        await stage.run
        await until(lambda: viewer.closed)
        assert viewer.closed is not None and viewer.closed[1] == "ä" * 61
