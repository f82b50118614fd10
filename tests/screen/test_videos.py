"""Streams that viewers share: what is made once, who gets what, and who has to wait for a key frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.screen import tiles
from pommel.screen.engine import Engine
from pommel.screen.frame import Frame, Pixels
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.video import EncodedFrame, VideoError
from pommel.screen.videos import KEPT_FRAMES, KEY_GAP_S, MAX_STREAMS, Videos, VideoSeat
from pommel.wire import messages as wire
from pommel.wire.codec import Decoder

from .doubles import Reel

SIZE = Size(640, 512)
ALL = whole(SIZE)
FRAME_S = 1 / 30


class Broken:
    def encode(self, pixels: Pixels, *, key: bool) -> EncodedFrame:
        raise VideoError("no")


class Theatre:
    """A screen that is all film, and its streams."""

    def __init__(self, make=Reel) -> None:
        self.made: list[Reel] = []
        self.engine = Engine()
        self.source = Frame.blank(SIZE)
        self.engine.update(self.source, [ALL])

        def encoder_for(width: int, height: int, crf: int):
            self.made.append(make() if make is Broken else make(width, height, crf))
            return self.made[-1]

        self.videos = Videos(self.engine, encoder_for)
        self.now = 0.0
        self.play(1.2)

    def play(self, seconds: float = FRAME_S) -> None:
        for _ in range(max(round(seconds / FRAME_S), 1)):
            self.now += FRAME_S
            self.source.pixels += 1
            self.videos.note(self.engine.update(self.source, [ALL]).tiles, SIZE, self.now)

    async def show(self, seat: VideoSeat) -> list[wire.Video] | None:
        """What a viewer is sent now; None if it gets pictures."""
        area = self.videos.area_for(seat, self.now)
        if area is None:
            return None
        sent = []
        for frame in self.videos.frames(seat, area, self.now):
            chunk = await self.videos.chunk(frame)
            if chunk is None:
                return None
            sent.append(only(seat.message(frame, chunk)))
            seat.sent(frame)
        return sent


def only(message: bytes) -> wire.Video:
    decoder = Decoder(wire.Direction.TO_VIEWER)
    decoder.receive_data(message)
    (video,) = decoder.events()
    assert isinstance(video, wire.Video)
    return video


@contextlib.asynccontextmanager
async def theatre(make=Reel) -> AsyncIterator[Theatre]:
    place = Theatre(make)
    yield place
    place.videos.close()


def seated(quality: int = 50) -> VideoSeat:
    seat = VideoSeat()
    seat.prefer(quality, 1, 0.0)
    return seat


async def test_a_stream_begins_with_a_key_frame_and_goes_on_chunk_by_chunk() -> None:
    async with theatre() as place:
        seat = seated()
        (first,) = await place.show(seat)
        assert (first.flags, first.codec) == (wire.KEY_FRAME | wire.STREAM_BEGINS, wire.H264_ANNEX_B)
        assert Rect(first.x, first.y, first.width, first.height) == ALL
        place.play()
        (second,) = await place.show(seat)
        assert second.flags == 0
        assert place.made[0].seen == [first.chunk, second.chunk]


async def test_viewers_of_one_quality_share_each_frame() -> None:
    async with theatre() as place:
        seats = [seated() for _ in range(5)]
        for _ in range(4):
            chunks = [await place.show(seat) for seat in seats]
            assert all(other == chunks[0] for other in chunks)
            place.play()
        assert len(place.made) == 1 and len(place.made[0].seen) == 4


async def test_another_quality_is_another_stream_up_to_a_number_of_them() -> None:
    async with theatre() as place:
        for quality in (92, 75, 50):
            assert await place.show(seated(quality))
        assert [reel.crf for reel in place.made] == [18, 23, 26]
        assert await place.show(seated(25)) is None
        assert len(place.made) == MAX_STREAMS


async def test_who_is_a_little_slower_gets_what_it_missed() -> None:
    async with theatre() as place:
        quick, slow = seated(), seated()
        await place.show(quick)
        await place.show(slow)
        for _ in range(KEPT_FRAMES - 1):
            place.play()
            await place.show(quick)
        missed = await place.show(slow)
        assert [video.chunk for video in missed] == place.made[0].seen[1:]
        assert [video.flags for video in missed] == [0] * (KEPT_FRAMES - 1)


async def test_who_comes_later_begins_at_a_kept_key_frame() -> None:
    async with theatre() as place:
        first = seated()
        await place.show(first)
        place.play()
        await place.show(first)
        joins = await place.show(seated())
        assert [video.flags for video in joins] == [wire.KEY_FRAME | wire.STREAM_BEGINS, 0]
        assert len(place.made[0].seen) == 2


async def test_who_missed_too_much_gets_pictures_until_a_key_frame_may_be_asked_for() -> None:
    async with theatre() as place:
        quick = seated()
        for _ in range(KEPT_FRAMES + 2):
            place.play()
            await place.show(quick)
        late = seated()
        assert place.now < 1.2 + KEY_GAP_S + FRAME_S
        assert await place.show(late) is None
        place.play(KEY_GAP_S)
        (key,) = await place.show(late)
        assert key.flags == wire.KEY_FRAME | wire.STREAM_BEGINS
        (same,) = await place.show(quick)
        assert same.flags == wire.KEY_FRAME and same.chunk == key.chunk


async def test_a_new_era_of_the_backlog_begins_the_stream_anew() -> None:
    async with theatre() as place:
        seat = seated()
        await place.show(seat)
        seat.prefer(50, 2, place.now)
        (again,) = await place.show(seat)
        assert again.flags == wire.KEY_FRAME | wire.STREAM_BEGINS


async def test_quality_goes_down_soon_and_comes_back_late() -> None:
    seat = VideoSeat()
    found = []
    for quality, now_s in ((75, 0.0), (40, 0.5), (40, 1.1), (30, 1.5), (30, 2.2), (75, 6.0), (75, 7.3)):
        seat.prefer(quality, 1, now_s)
        found.append(seat.crf)
    assert found == [23, 23, 26, 26, 30, 30, 23]


async def test_a_stream_that_nobody_watches_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pommel.screen.videos.IDLE_S", 0.02)
    async with theatre() as place:
        await place.show(seated())
        await asyncio.sleep(0.1)
        place.play()
        await place.show(seated())
        assert len(place.made) == 2


async def test_another_size_is_the_end_of_all_streams() -> None:
    async with theatre() as place:
        seat = seated()
        await place.show(seat)
        other = Size(800, 600)
        place.engine.update(Frame.blank(other), [])
        place.videos.note(tiles.touched(other, [whole(other)]), other, place.now)
        assert await place.show(seat) is None


async def test_what_began_as_video_stays_so_and_does_not_begin_unasked() -> None:
    async with theatre() as place:
        begun, not_begun = seated(), seated()
        await place.show(begun)
        place.play()
        assert place.videos.area_for(begun, place.now, begin=False) == ALL
        assert place.videos.area_for(not_begun, place.now, begin=False) is None
        begun.prefer(50, 2, place.now)
        assert place.videos.area_for(begun, place.now, begin=False) is None


async def test_where_video_cannot_be_made_it_is_tried_once() -> None:
    async with theatre(Broken) as place:
        seat = seated()
        assert await place.show(seat) is None
        place.play()
        assert place.videos.area_for(seat, place.now) is None
        assert len(place.made) == 1


async def test_a_film_at_rest_is_no_film() -> None:
    async with theatre() as place:
        place.now += 1
        assert await place.show(seated()) is None


async def test_closing_drops_what_waits() -> None:
    async with theatre() as place:
        seat = seated()
        frames = place.videos.frames(seat, ALL, place.now)
        place.videos.close()
        assert place.videos.area_for(seat, place.now) is None
        with contextlib.suppress(asyncio.CancelledError):
            await place.videos.chunk(frames[0])


who = st.integers(0, 3)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("show"), who),
        st.tuples(st.just("play"), st.sampled_from([1, 1, 1, 3, 12])),
        st.tuples(st.just("refresh"), who),
        st.tuples(st.just("ask"), st.tuples(who, st.sampled_from([25, 50, 75, 92]))),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(steps)
def test_every_viewer_can_decode_all_it_is_sent(script) -> None:
    asyncio.run(_decodes(script))


async def _decodes(script) -> None:
    """A reel's chunk names its reel and its number: a decoder's state is the last it took."""
    async with theatre() as place:
        seats, eras, qualities = [VideoSeat() for _ in range(4)], [1] * 4, [50] * 4
        states: list[tuple[int, int] | None] = [None] * 4
        for what, how in script:
            if what == "play":
                place.play(how * FRAME_S)
            elif what == "refresh":
                eras[how] += 1
            elif what == "ask":
                qualities[how[0]] = how[1]
            else:
                seats[how].prefer(qualities[how], eras[how], place.now)
                for video in await place.show(seats[how]) or ():
                    reel, number, is_key = Reel.read(video.chunk)
                    if video.flags & wire.STREAM_BEGINS:
                        assert is_key
                    else:
                        assert states[how] == (reel, number - 1)
                    assert bool(video.flags & wire.KEY_FRAME) == is_key
                    states[how] = reel, number
