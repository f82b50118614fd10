"""A film on its way to viewers: as video over a thin link, as pictures to all others, and exact to all when it rests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isolation import patient
from pommel.screen import moving, tiles
from pommel.screen.backlog import FILM_REST_S, Backlog, Round
from pommel.screen.endpoint import Endpoint
from pommel.screen.frame import Pixels
from pommel.screen.geometry import Rect, Size
from pommel.screen.tiles import Changes
from pommel.screen.video import EncodedFrame, VideoError
from pommel.screen.videos import EncoderFor
from pommel.wire import messages as wire
from waits import until

from .doubles import MemorySink, Onlooker, PaintedSource, RawEncoder, Reel

SIZE = Size(448, 320)
FILM = Rect(64, 0, 320, 256)
THIN = 1_000_000  # bytes a second
VIDEO = wire.Abilities(wire.ACKNOWLEDGES | wire.TAKES_VIDEO)


class Cinema:
    """An endpoint whose source shows a film while `plays`."""

    def __init__(self, tasks: asyncio.TaskGroup, video: EncoderFor) -> None:
        self.tasks = tasks
        self.source = PaintedSource(SIZE)
        self.endpoint = Endpoint(self.source, MemorySink(), encoder=RawEncoder(lossy=True), video=video)
        self.seats: list[Onlooker] = []
        self.plays = True
        self.ends = [tasks.create_task(self.endpoint.run()), tasks.create_task(self._play())]

    def join(self, *abilities: wire.Command, thin: bool = True) -> Onlooker:
        onlooker = Onlooker(acknowledges=bool(abilities), reads=not thin)
        onlooker.say(*abilities)
        if thin:
            self.ends.append(self.tasks.create_task(self._link(onlooker)))
        self.tasks.create_task(self.endpoint.serve(onlooker))
        self.seats.append(onlooker)
        return onlooker

    async def _link(self, onlooker: Onlooker) -> None:
        while True:
            waiting = onlooker.waiting
            await asyncio.sleep(max(onlooker.unsent_bytes() / THIN, 0.002))
            onlooker.read(waiting)

    async def _play(self) -> None:
        seed = 0
        while self.plays:
            seed += 1
            self.source.paint(FILM, seed)
            await asyncio.sleep(0.03)

    async def at_rest(self, *onlookers: Onlooker) -> None:
        self.plays = False
        for onlooker in onlookers:
            await until(lambda one=onlooker: np.array_equal(one.canvas, self.source.frame.pixels))


@pytest.fixture(autouse=True)
def pauses_of_a_busy_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this process waits for a processor, the film has pauses that are not the film's own."""
    for name in ("PAUSE_S", "REST_S"):
        monkeypatch.setattr(moving, name, patient(getattr(moving, name)))


@contextlib.asynccontextmanager
async def cinema(video: EncoderFor = Reel) -> AsyncIterator[Cinema]:
    async with asyncio.TaskGroup() as tasks:
        place = Cinema(tasks, video)
        yield place
        for seat in place.seats:
            seat.leave()
        for end in place.ends:
            end.cancel()


def inside(picture: wire.Command) -> bool:
    assert isinstance(picture, wire.Picture)
    return picture.x >= FILM.x and picture.x < FILM.right and picture.y < FILM.bottom


async def test_who_takes_video_over_a_thin_link_gets_the_film_as_video_and_all_is_exact_in_the_end() -> None:
    async with cinema() as place:
        takes, plain, quick = place.join(VIDEO), place.join(), place.join(VIDEO, thin=False)
        small = place.join(VIDEO, wire.Compression(1, 50, 512, 20))
        await until(lambda: len(takes.films) > 15)
        assert {(one.x, one.y, one.width, one.height) for one in takes.films} == {tuple(FILM)}
        numbers = [Reel.read(one.chunk)[1] for one in takes.films]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert [bool(one.flags & wire.STREAM_BEGINS) for one in takes.films] == [True] + [False] * (len(numbers) - 1)
        first = takes.commands.index(takes.films[0])
        assert not any(inside(one) for one in takes.commands[first:] if isinstance(one, wire.Picture))
        assert plain.films == small.films == quick.films == []
        await place.at_rest(takes, plain, quick)


async def test_a_scroll_through_the_film_is_no_move_and_beside_it_is_one() -> None:
    async with cinema() as place:
        viewer = place.join(wire.Abilities(VIDEO.bits | wire.TAKES_MOVES))
        await until(lambda: len(viewer.films) > 5)
        before = len(viewer.of(wire.Move))
        for seed in range(100, 110):
            place.source.scroll(Rect(0, 0, *SIZE), 0, -12, seed)
            await asyncio.sleep(0.03)
        assert len(viewer.of(wire.Move)) == before
        await place.at_rest(viewer)


async def test_who_gives_video_up_gets_pictures_again() -> None:
    async with cinema() as place:
        gives_up, goes_on = place.join(VIDEO), place.join(VIDEO)
        await until(lambda: len(gives_up.films) > 3)
        gives_up.say(wire.Abilities(wire.ACKNOWLEDGES), wire.Refresh())
        await until(lambda: len(gives_up.of(wire.Screen)) > 1)
        seen, others = len(gives_up.films), len(goes_on.films)
        await until(lambda: len(goes_on.films) > others + 5)
        assert len(gives_up.films) == seen
        await place.at_rest(gives_up, goes_on)


async def test_who_lost_all_begins_the_stream_anew() -> None:
    async with cinema() as place:
        viewer = place.join(VIDEO)
        await until(lambda: len(viewer.films) > 3)
        viewer.say(wire.Refresh())
        await until(lambda: sum(bool(one.flags & wire.STREAM_BEGINS) for one in viewer.films) == 2)
        await place.at_rest(viewer)


async def test_where_video_fails_the_film_goes_on_in_pictures() -> None:
    class Broken:
        def encode(self, pixels: Pixels, *, key: bool) -> EncodedFrame:
            raise VideoError("no")

    tried: list[Broken] = []
    async with cinema(video=lambda *_: tried.append(Broken()) or tried[-1]) as place:
        viewer = place.join(VIDEO)
        await until(lambda: bool(tried))
        before = len(viewer.of(wire.Picture))
        await until(lambda: len(viewer.of(wire.Picture)) > before + 10)
        assert viewer.films == [] and len(tried) == 1
        await place.at_rest(viewer)


# --- the backlog's part, in no time ---

rects = st.builds(Rect, *(st.integers(0, n) for n in (447, 319, 448, 320)))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), rects),
        st.tuples(st.just("take"), st.sampled_from([None, FILM, FILM, Rect(0, 0, 448, 320)])),
        st.tuples(st.just("in vain"), st.just(FILM)),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.03, 0.3, 0.6])),
        st.tuples(st.just("refresh"), st.none()),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(steps)
def test_whatever_was_shown_as_video_is_sent_exactly_when_it_rests(script) -> None:
    backlog, now, exact = Backlog(SIZE), 1.0, tiles.empty_map(SIZE)
    backlog.obey(VIDEO)
    changed_s = np.zeros(exact.shape)
    for what, how in script:
        now += 0.001
        if what == "wait":
            now += how
        elif what == "refresh":
            backlog.refresh()
            exact[:], changed_s[:] = False, 0.0
        elif what == "change":
            changed = tiles.touched(SIZE, [how])
            backlog.mark(Changes.throughout(changed), SIZE, now)
            exact[changed], changed_s[changed] = False, now
        else:
            serving = backlog.take(now, film=how)
            if what == "in vain":
                backlog.put_back_film(serving)
                serving = _without_film(serving)
            _show(serving, exact)
            assert not (serving.film and serving.style.best), "nothing is made better while the film plays"
    while (due_s := backlog.due_in(now)) is not None:
        now += due_s + 0.001
        serving = backlog.take(now)
        if serving.style.best and serving.areas:
            for area in serving.areas:
                assert (changed_s[tiles.cells(area)] < now).all()
        _show(serving, exact)
    assert exact.all()


def _without_film(serving: Round) -> Round:
    return Round(serving.era, serving.commands, serving.areas, serving.scaling, serving.style)


def _show(serving: Round, exact: tiles.TileMap) -> None:
    if serving.film:
        exact[tiles.cells(serving.film)] = False
    for area in serving.areas:
        exact[tiles.cells(area)] = serving.style.best


def _meets(a: Rect, b: Rect) -> bool:
    return a.x < b.right and b.x < a.right and a.y < b.bottom and b.y < a.bottom


def test_a_still_part_of_a_film_waits_for_the_whole_film_to_rest() -> None:
    backlog = Backlog(SIZE)
    backlog.obey(VIDEO)
    backlog.take(0.0)
    changing = tiles.touched(SIZE, [Rect(64, 0, 64, 64)])
    now = 1.0
    while now < 2.0:
        backlog.mark(Changes.throughout(changing), SIZE, now)
        assert backlog.take(now, film=FILM).film == FILM
        later = backlog.take(now + 0.015)
        assert not any(_meets(area, FILM) for area in later.areas)
        now += 0.03
    assert backlog.due_in(now) is not None
    rested = now - 0.03 + FILM_REST_S + 0.01
    seen = tiles.empty_map(SIZE)
    while (due_s := backlog.due_in(rested)) is not None:
        rested += due_s + 0.001
        for area in backlog.take(rested).areas:
            seen[tiles.cells(area)] = True
    assert seen[tiles.cells(FILM)].all()
