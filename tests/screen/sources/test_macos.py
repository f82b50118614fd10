"""The source and the connection, on a stand-in for macOS (`mac`); not on a Mac."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isolation import patient
from pommel.errors import DeadlineError, MissingProgram, NotPermitted, StateError
from pommel.screen.actions import MovePointer, PressKey
from pommel.screen.endpoint import Endpoint
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.seams import SourceEnded, Update
from pommel.screen.sources import macos, macos_stills, macos_stream
from pommel.screen.sources.macos import MacConnection, connect_macos
from pommel.screen.sources.macos_frameworks import Frameworks, framework
from pommel.wire.messages import ALL_DISPLAYS, CAPS_LOCK, CursorShape
from screen.mac import FakeDisplay, Mac, NSError, mac

OLD, NEW = 13, 14
both = pytest.mark.parametrize("release", [OLD, NEW])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macos, "GLANCE_S", 0.01)
    monkeypatch.setattr(macos, "_RETRY_S", 0.01)
    monkeypatch.setattr(macos_stream, "_WHOLE_S", 0.1)
    monkeypatch.setattr(macos_stills, "_WHOLE_S", 0.1)


@asynccontextmanager
async def connected(it: Mac) -> AsyncIterator[MacConnection]:
    connection = await connect_macos(frameworks=it.frameworks())
    try:
        yield connection
    finally:
        await connection.close()


async def update(connection: MacConnection, timeout_s: float = 5.0) -> Update:
    news = await asyncio.wait_for(connection.source.next_update(), timeout_s)
    assert isinstance(news, Update), news
    return news


async def nothing(connection: MacConnection) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.source.next_update(), 0.15)


def shown(news: Update, rect: Rect | None = None) -> np.ndarray:
    return news.frame.view(rect or whole(news.frame.size))[:, :, :3]


# --- pictures ---


@both
async def test_the_first_update_is_the_whole_picture_and_then_what_changes(release: int) -> None:
    with mac(release=release) as it:
        it.draw(1, Rect(10, 10, 30, 30), 200)
        async with connected(it) as connection:
            first = await update(connection)
            assert first.damage == (Rect(0, 0, 160, 100),)
            assert (shown(first) == it.truth(1)).all()
            assert first.cursor is CursorShape.ARROW
            await nothing(connection)
            it.draw(1, Rect(100, 70, 8, 8), 90)
            second = await update(connection)
            assert second.damage
            assert second.damage != first.damage
            assert (shown(second) == it.truth(1)).all()
            assert (second.cursor, second.lock_keys, second.displays) == (None, None, None)


async def test_damage_is_what_the_stream_says() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            it.draw(1, Rect(3, 5, 7, 9), 44)
            assert (await update(connection)).damage == (Rect(3, 5, 7, 9),)
        assert it.stills == 0


@pytest.mark.parametrize("in_points", [False, True])
async def test_damage_of_a_retina_display_in_either_unit(in_points: bool) -> None:
    with mac(FakeDisplay(1, 0, 0, 80, 60, 2)) as it:
        it.dirty_in_points = in_points
        async with connected(it) as connection:
            assert (await update(connection)).frame.size == Size(160, 120)
            it.draw(1, Rect(30, 20, 40, 40), 150)
            assert (shown(await update(connection)) == it.truth(1)).all()


async def test_frames_that_nobody_asked_for_are_not_lost() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            for step in range(20):
                it.draw(1, Rect(step * 8, step * 4, 8, 4), 10 * step + 10)
            it.settle()
            news = await update(connection)
            assert len(news.damage) == 20
            assert (shown(news) == it.truth(1)).all()
            await nothing(connection)


async def test_a_frame_stays_as_it_is_until_the_next_is_asked_for() -> None:
    with mac() as it:
        async with connected(it) as connection:
            news = await update(connection)
            before = shown(news).copy()
            it.draw(1, Rect(0, 0, 50, 50), 99)
            it.settle()
            assert (shown(news) == before).all()


@both
async def test_cancelling_loses_nothing(release: int) -> None:
    with mac(release=release) as it:
        async with connected(it) as connection:
            await update(connection)
            for step in range(10):
                waiting = asyncio.ensure_future(connection.source.next_update())
                await asyncio.sleep(0.003)
                it.draw(1, Rect(step * 10, step * 10, 10, 10), 20 * step + 20)
                await asyncio.sleep(0.001 * step)
                waiting.cancel()
                done = (await asyncio.gather(waiting, return_exceptions=True))[0]
                if isinstance(done, Update):
                    continue
                assert (shown(await update(connection)) == it.truth(1)).all()


async def test_samples_without_pixels_or_with_odd_notes() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            stream = it.streams[-1]

            stream.send(SimpleNamespace(surface=None, attachments=None))  # idle
            it.settle()
            await nothing(connection)
            it.draw(1, Rect(0, 0, 20, 20), 77)
            it.settle()
            assert (await update(connection)).damage == (Rect(0, 0, 20, 20),)


async def test_a_fault_in_a_thread_of_macos_is_a_reason_and_no_crash() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            it.streams[-1].send(None)  # no sample at all
            it.settle()
            news = await update(connection)  # the stream was opened again
            assert news.damage == (whole(news.frame.size),)


@both
async def test_a_display_that_sleeps_is_black_and_comes_to_life(release: int) -> None:
    with mac(release=release) as it:
        it.displays[0].asleep = True
        async with connected(it) as connection:
            news = await update(connection)
            assert news.frame.size == Size(160, 100)
            assert not connection.source.shows_something(news.frame)
            it.displays[0].asleep = False
            it.draw(1, Rect(5, 5, 60, 60), 128)
            news = await update(connection)
            assert (shown(news) == it.truth(1)).all()
            assert connection.source.shows_something(news.frame)


# --- looking on ---


@both
async def test_nothing_is_recorded_while_nobody_looks_on(release: int) -> None:
    with mac(release=release) as it:
        async with connected(it) as connection:
            await update(connection)
            waiting = asyncio.ensure_future(connection.source.next_update())
            await asyncio.sleep(0.05)
            connection.source.watch(False)
            await asyncio.sleep(0.05)
            stills = it.stills
            it.draw(1, Rect(0, 0, 9, 9), 66)
            await asyncio.sleep(0.1)
            assert not any(stream.running for stream in it.streams)
            assert it.stills == stills
            assert not waiting.done()
            connection.source.watch(True)
            news = await asyncio.wait_for(waiting, 5)
            assert isinstance(news, Update)
            assert (shown(news) == it.truth(1)).all()


async def test_an_update_follows_when_somebody_begins_to_look_on() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            connection.source.watch(True)
            assert (await update(connection)).damage == ()


async def test_what_a_stream_of_before_still_says_is_not_heard() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            before = it.streams[-1]
            connection.source.watch(False)
            it.draw(1, Rect(0, 0, 50, 50), 120)
            connection.source.watch(True)
            assert (shown(await update(connection)) == it.truth(1)).all()
            it.displays[0].pixels, kept = np.zeros_like(it.displays[0].pixels), it.displays[0].pixels
            before.deliver(None)
            it.queue.submit(before.delegate.stream_didStopWithError_, before, NSError(-3817, "stopped")).result()
            it.displays[0].pixels = kept
            await nothing(connection)


async def test_closing_the_eyes_while_they_open() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            connection.source.watch(False)
            connection.source.watch(True)
            waiting = asyncio.ensure_future(connection.source.next_update())
            await asyncio.sleep(0)
            connection.source.watch(False)
            await asyncio.sleep(0.1)
            it.settle()
            assert not any(stream.running for stream in it.streams)
            connection.source.watch(True)
            assert isinstance(await asyncio.wait_for(waiting, 5), Update)


# --- displays ---


@both
async def test_two_displays_are_one_picture_and_each_can_be_shown_alone(release: int) -> None:
    with mac(FakeDisplay(5, 0, 0, 80, 60, 2), FakeDisplay(6, 80, 10, 50, 40), release=release) as it:
        it.draw(5, Rect(0, 0, 160, 120), 100)
        it.draw(6, Rect(0, 0, 50, 40), 200)
        async with connected(it) as connection:
            news = await update(connection)
            assert news.frame.size == Size(260, 120)
            assert (shown(news, Rect(0, 0, 160, 120)) == it.truth(5)).all()
            assert (shown(news, Rect(160, 20, 100, 80)) == it.truth(6)[0, 0]).all()
            assert not shown(news, Rect(160, 0, 100, 20)).any()
            assert news.displays is not None
            assert (len(news.displays.all), news.displays.selected) == (2, ALL_DISPLAYS)
            connection.source.show_display(2)
            news = await update(connection)
            assert news.damage == (Rect(0, 0, 50, 40),)
            assert (shown(news) == it.truth(6)).all()
            assert news.displays is not None
            assert news.displays.selected == 2
            await connection.sink.perform(MovePointer(10, 10, 0))
            assert it.posted[-1].at == (90, 20)
            connection.source.show_display(ALL_DISPLAYS)
            assert (await update(connection)).frame.size == Size(260, 120)


@both
async def test_a_display_changes_its_resolution_and_another_comes(release: int) -> None:
    with mac(release=release) as it:
        async with connected(it) as connection:
            assert (await update(connection)).frame.size == Size(160, 100)
            it.displays = [FakeDisplay(1, 0, 0, 64, 48, 2)]
            it.draw(1, Rect(0, 0, 128, 96), 70)
            news = await update(connection)
            while news.frame.size != Size(128, 96):
                news = await update(connection)
            assert (shown(news) == it.truth(1)).all()
            it.displays.append(FakeDisplay(2, 64, 0, 10, 10))
            news = await update(connection)
            assert news.frame.size == Size(148, 96)


async def test_all_displays_go_and_one_comes_back() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            gone, it.displays = it.displays, []
            await nothing(connection)
            it.displays = gone
            it.draw(1, Rect(0, 0, 10, 10), 33)
            assert (shown(await update(connection)) == it.truth(1)).all()


# --- pointer and lamps ---


async def test_the_pointers_shape_and_caps_lock() -> None:
    with mac(release=15) as it:
        async with connected(it) as connection:
            await update(connection)
            it.pointer = "IBeamCursor"
            news = await update(connection)
            assert (news.cursor, news.damage) == (CursorShape.TEXT, ())
            it.pointer = "frame 9 3"
            assert (await update(connection)).cursor is CursorShape.NESW_RESIZE
            it.pointer = None
            await nothing(connection)
            it.caps = True
            assert (await update(connection)).lock_keys == CAPS_LOCK
            await connection.sink.perform(PressKey(0x14, False, True))
            assert (await update(connection)).lock_keys == 0
    assert it.modules["AppKit"].NSApplication.policy == 2


async def test_where_there_can_be_no_application_there_is_a_picture_all_the_same() -> None:
    with mac() as it:
        it.no_application = True
        async with connected(it) as connection:
            assert (await update(connection)).cursor is None


# --- what macOS forbids or cannot do ---


async def test_screen_recording_is_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    with mac() as it:
        it.screen_recording = False
        with pytest.raises(NotPermitted, match="Privacy & Security > Screen Recording") as refused:
            await connect_macos(frameworks=it.frameworks())
        assert "Privacy_ScreenCapture" in (refused.value.hint or "")
        assert it.asked == ["screen"]
        assert it.stills == 0, "it would show the wallpaper"


async def test_root_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with mac(release=OLD) as it:
        it.screen_recording = it.accessibility = False
        with pytest.raises(NotPermitted):
            await connect_macos(frameworks=it.frameworks())
        assert it.asked == []


async def test_a_no_that_is_not_true() -> None:
    with mac() as it:
        frameworks = it.frameworks()
        frameworks.may_capture = lambda: False  # type: ignore[method-assign]
        connection = await connect_macos(frameworks=frameworks)
        assert (await update(connection)).damage
        await connection.close()


async def test_where_screen_capture_kit_does_not_answer_pictures_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(macos_stream.StreamEyes.__init__, "__kwdefaults__", {"answer_s": 0.05})
    with mac() as it:
        it.silent = True
        async with connected(it) as connection:
            assert (await update(connection)).damage
            assert it.stills


async def test_neither_way_works() -> None:
    with mac(release=OLD) as it:
        it.modules["Quartz"].CGDisplayCreateImage = None
        with pytest.raises(StateError, match="needs ScreenCaptureKit"):
            await connect_macos(frameworks=it.frameworks())


async def test_no_answer_in_time() -> None:
    with mac() as it:
        it.silent = True
        with pytest.raises(DeadlineError, match=r"within 0\.05 s"):
            await connect_macos(frameworks=it.frameworks(), timeout_s=0.05)


async def test_no_display() -> None:
    with mac() as it:
        it.displays = []
        with pytest.raises(StateError, match="no display"):
            await connect_macos(frameworks=it.frameworks())


async def test_no_session() -> None:
    with mac() as it:
        it.modules["Quartz"].CGGetActiveDisplayList = lambda most, ids, count: (1000, (), 0)
        with pytest.raises(StateError, match="error 1000"):
            await connect_macos(frameworks=it.frameworks())


async def test_no_event_source() -> None:
    with mac() as it:
        it.modules["Quartz"].CGEventSourceCreate = lambda state: None
        with pytest.raises(StateError, match="no keyboard or mouse input"):
            await connect_macos(frameworks=it.frameworks())
        assert not any(stream.running for stream in it.streams)


def test_without_pyobjc() -> None:
    with pytest.raises(MissingProgram, match="NoSuchFrameworkAnywhere") as missing:
        framework("NoSuchFrameworkAnywhere")
    assert "pommel[macos]" in (missing.value.hint or "")


def test_a_release_is_a_number() -> None:
    with mac() as it:
        assert Frameworks(it.modules.__getitem__).release >= 11


async def test_somebody_at_the_mac_stops_it() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            it.stop_streams(-3817, "stopped")
            ended = await asyncio.wait_for(connection.source.next_update(), 5)
            assert ended == SourceEnded("the user of the Mac stopped the screen sharing")
            assert await connection.until_ended() == ended.reason


async def test_a_stream_that_macos_ends_is_opened_again() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            it.stop_streams(-3821, "the system stopped it")
            news = await update(connection)
            assert news.damage == (whole(news.frame.size),)


async def test_a_stream_that_cannot_be_opened_again_is_the_end() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            it.modules["ScreenCaptureKit"].SCStream.startCaptureWithCompletionHandler_ = lambda self, done: done(
                NSError(-3802, "failed to start")
            )
            it.stop_streams(-3805, "interrupted")
            ended = await asyncio.wait_for(connection.source.next_update(), 5)
            assert isinstance(ended, SourceEnded)
            assert "failed to start" in ended.reason
            assert not any(stream.running for stream in it.streams)


async def test_permission_taken_away() -> None:
    with mac() as it:
        async with connected(it) as connection:
            await update(connection)
            it.stop_streams(-3801, "declined")
            ended = await asyncio.wait_for(connection.source.next_update(), 5)
            assert isinstance(ended, SourceEnded)
            assert "declined" in ended.reason


# --- the whole ---


async def test_an_endpoint_serves_it() -> None:
    with mac() as it:
        it.draw(1, Rect(0, 0, 80, 100), 180)
        async with connected(it) as connection, asyncio.TaskGroup() as tasks:
            endpoint = Endpoint(connection.source, connection.sink)
            tasks.create_task(endpoint.run())
            await endpoint.wait_live(5)
            assert endpoint.size == Size(160, 100)
            connection.source.end("over")


async def test_closing_lets_go_and_ends() -> None:
    with mac() as it:
        connection = await connect_macos(frameworks=it.frameworks())
        await update(connection)
        await connection.sink.perform(PressKey(0x41, False, True))
        await connection.close()
        assert [(event.key, event.down) for event in it.posted] == [(0, True), (0, False)]
        assert isinstance(await connection.source.next_update(), SourceEnded)
        assert not any(stream.running for stream in it.streams)


async def test_the_displays_are_woken_and_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    program = tmp_path / "caffeinate"
    program.write_text(f'#!/bin/sh\necho "$$ $*" >{told}.new\nmv {told}.new {told}\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with mac() as it:
        async with connected(it):
            async with asyncio.timeout(patient(5)):
                while not told.exists():
                    await asyncio.sleep(0.01)
        pid, words = told.read_text().split(maxsplit=1)
        assert words == "-u -t 10\n"
        assert not Path(f"/proc/{pid}").exists()


# --- laws ---

SHAPES = [
    (FakeDisplay(1, 0, 0, 60, 40),),
    (FakeDisplay(1, 0, 0, 60, 40, 2), FakeDisplay(2, -30, 8, 30, 20)),
]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("draw"), st.integers(0, 119), st.integers(0, 79), st.integers(1, 60), st.integers(1, 60)),
        st.just(("take",)),
        st.just(("cancel",)),
        st.just(("leave",)),
        st.tuples(st.just("choose"), st.integers(0, 3)),
    ),
    max_size=15,
)


@both
@pytest.mark.parametrize("alone", [True, False])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_whatever_happens_the_newest_picture_comes_in_the_end(
    alone: bool, release: int, todo: list[tuple[Any, ...]]
) -> None:
    async def live(it: Mac) -> None:
        async with connected(it) as connection:
            source, kept = connection.source, (await update(connection)).frame.copy()

            async def take(timeout_s: float) -> Frame:
                """What the engine does: of an update, take only the damage."""
                nonlocal kept
                with contextlib.suppress(TimeoutError):
                    news = await asyncio.wait_for(source.next_update(), timeout_s)
                    assert isinstance(news, Update)
                    if news.frame.size != kept.size:
                        kept = Frame.blank(news.frame.size)
                        assert news.damage == (whole(kept.size),)
                    for rect in news.damage:
                        kept.view(rect)[:] = news.frame.view(rect)
                return kept

            colour = 0
            for step in todo:
                match step:
                    case ("draw", x, y, width, height):
                        colour = (colour + 37) % 256
                        shown = it.displays[colour % len(it.displays)]
                        size = Size(shown.pixels.shape[1], shown.pixels.shape[0])
                        it.draw(shown.id, Rect(x, y, width, height).clipped(size), colour)
                    case ("take",):
                        await take(0.02)
                    case ("cancel",):
                        await take(0.0005)
                    case ("leave",):
                        source.watch(False)
                        source.watch(True)
                    case ("choose", number):
                        source.show_display(number)
            source.show_display(1)
            it.settle()
            first = it.displays[0]
            async with asyncio.timeout(patient(5)):
                while (await take(0.2)).size != Size(*first.pixels.shape[1::-1]) or (
                    kept.pixels[:, :, :3] != it.truth(1)
                ).any():
                    pass

    displays = SHAPES[0] if alone else SHAPES[1]
    with mac(*(replace(one) for one in displays), release=release) as it:
        asyncio.run(live(it))
