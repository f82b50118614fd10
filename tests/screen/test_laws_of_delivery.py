"""Whatever frames, damage, viewers' speeds, acknowledgements and partings: each viewer ends with the last frame."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen.geometry import Rect, Size, whole
from pommel.wire import messages as wire
from waits import until

from .doubles import HIGH_WATER, Onlooker
from .test_endpoint import SIZE, Stage, staged

LARGE = Size(1300, 700)  # more than one picture, and more than may be on its way at once
who = st.integers(0, 3)
rects = st.builds(Rect, *(st.integers(0, n) for n in (199, 139, 200, 140)))
ops = st.lists(
    st.one_of(
        st.tuples(st.just("paint"), rects),
        st.tuples(st.just("overstate"), st.builds(Rect, *(st.integers(0, n) for n in (199, 139, 60, 60)))),
        st.tuples(st.just("resize"), st.sampled_from([SIZE, Size(64, 64), Size(333, 90), LARGE])),
        st.tuples(st.just("join"), st.tuples(st.booleans(), st.booleans(), st.booleans())),
        st.tuples(st.just("leave"), who),
        st.tuples(st.just("vanish"), who),
        st.tuples(st.just("read"), st.tuples(who, st.sampled_from([None, 1, 2]))),
        st.tuples(st.just("acknowledge"), st.tuples(who, st.sampled_from([0, 0, 1, 5, -3, 2**31]))),
        st.tuples(st.just("pause"), who),
        st.tuples(st.just("scale"), st.tuples(who, st.sampled_from([1024, 512, 300, 2048]))),
        st.tuples(st.just("timer"), st.tuples(who, st.sampled_from([20, 40]))),
        st.tuples(st.just("refresh"), who),
        st.tuples(st.just("wait"), st.sampled_from([0, 0.001, 0.01, 0.03])),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(ops)
def test_whatever_happens_each_viewer_ends_with_exactly_the_last_frame(script) -> None:
    asyncio.run(_play(script, lossy=False))


@settings(deadline=None, max_examples=12)
@given(ops)
def test_so_it_does_when_only_pictures_at_rest_are_exact(script) -> None:
    asyncio.run(_play(script, lossy=True))


async def _play(script, *, lossy: bool) -> None:
    async with staged(lossy=lossy) as stage:
        scalings: dict[Onlooker, int] = {}
        seeds = itertools.count()
        joins = [("join", how) for how in ((True, False, True), (False, False, True), (True, True, True))]
        for what, how in [*joins, *script]:
            await _step(stage, scalings, next(seeds), what, how)
            for _ in range(3):  # let each step be an update of its own
                await asyncio.sleep(0)
        for viewer in scalings:
            viewer.reads = viewer.prompt = True
            viewer.read()
            viewer.say(wire.Pause(False))
            viewer.acknowledge()
        await until(lambda: all(stage.shows(viewer, scaling) for viewer, scaling in scalings.items()))
        for viewer in scalings:
            assert viewer.most_unsent <= HIGH_WATER + viewer.largest
        await until(lambda: stage.endpoint.viewers == len(scalings))
        await _then_silence(stage, list(scalings))


async def _then_silence(stage: Stage, viewers: list[Onlooker]) -> None:
    """A screen that rests and is seen exactly is sent no more."""
    if stage.encoder.lossy:
        await asyncio.sleep(0.3)
        counts = [len(viewer.commands) for viewer in viewers]
        await asyncio.sleep(0.3)
        assert counts == [len(viewer.commands) for viewer in viewers]


async def _step(stage: Stage, scalings: dict[Onlooker, int], seed: int, what: str, how) -> None:
    viewers = list(scalings)
    index = how[0] if isinstance(how, tuple) and not isinstance(how, Rect | Size) and what != "join" else how
    one = viewers[index] if isinstance(index, int) and index < len(viewers) else None
    match what:
        case "paint":
            stage.source.paint(how, seed)
        case "overstate":
            stage.source.paint(how, seed, damage=whole(stage.source.frame.size))
        case "resize":
            stage.source.resize(how, seed)
        case "join":
            reads, acknowledges, prompt = how
            scalings[stage.join(Onlooker(reads=reads, acknowledges=acknowledges, prompt=prompt))] = 1024
        case "wait":
            await asyncio.sleep(how)
        case "leave" | "vanish" if one is not None:
            del scalings[one]
            if what == "leave":
                await stage.leave(one)
            else:
                stage.serving.pop(one).cancel()
        case _ if one is not None:
            _say(scalings, one, what, how)


def _say(scalings: dict[Onlooker, int], one: Onlooker, what: str, how) -> None:
    match what:
        case "read":
            one.read(how[1])
        case "acknowledge":
            one.acknowledge(how[1])
        case "pause":
            one.say(wire.Pause(True))
        case "timer":
            one.say(wire.FrameRateTimer(how[1]))
        case "refresh":
            one.say(wire.Refresh())
        case "scale":
            scalings[one] = how[1]
            one.say(wire.Compression(1, 50, how[1], 20))
