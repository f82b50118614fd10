from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import DeadlineError, MachineError, RfbError, WireError
from pommel.screen.actions import MovePointer, PressKey, TypeText
from pommel.screen.endpoint import Endpoint
from pommel.screen.geometry import Rect, Size, whole
from pommel.screen.pointer import UNKNOWN, PointerPicture
from pommel.screen.scaling import Scaling
from pommel.screen.seams import SourceEnded
from pommel.wire import messages as wire
from pommel.wire import mouse
from pommel.wire.looking import Looking
from waits import until

from .doubles import HIGH_WATER, MemorySink, Onlooker, PaintedSource, RawEncoder

SIZE = Size(200, 140)


class Stage:
    """An endpoint that runs, with doubles all around it."""

    def __init__(
        self, tasks: asyncio.TaskGroup, *, stall_s: float = 30.0, blank: bool = False, lossy: bool = False
    ) -> None:
        self.tasks = tasks
        self.source, self.sink, self.encoder = PaintedSource(SIZE), MemorySink(), RawEncoder(lossy=lossy)
        self.endpoint = Endpoint(self.source, self.sink, encoder=self.encoder, stall_s=stall_s)
        self.run = tasks.create_task(self.endpoint.run())
        if not blank:
            self.source.paint(whole(SIZE), 99)
        self.serving: dict[Onlooker, asyncio.Task[None]] = {}

    def join(self, onlooker: Onlooker, *, view_only: bool = False, **how) -> Onlooker:
        stream = Looking(onlooker) if view_only else onlooker
        self.serving[onlooker] = self.tasks.create_task(self.endpoint.serve(stream, **how))
        return onlooker

    async def leave(self, onlooker: Onlooker) -> None:
        onlooker.leave()
        await self.serving.pop(onlooker)

    def shows(self, onlooker: Onlooker, scaling: int = 1024) -> bool:
        how = Scaling(self.source.frame.size, scaling)
        expected = how.render(self.source.frame, whole(how.picture))
        return onlooker.canvas.shape == expected.shape and bool((onlooker.canvas == expected).all())


@contextlib.asynccontextmanager
async def staged(**how) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        stage = Stage(tasks, **how)
        yield stage
        for onlooker in list(stage.serving):
            await stage.leave(onlooker)
        stage.run.cancel()


# --- pictures ---


async def test_a_viewer_gets_screen_pointer_and_picture_then_what_changes() -> None:
    async with staged() as stage:
        viewer = stage.join(Onlooker())
        await until(lambda: stage.shows(viewer))
        assert viewer.commands[:2] == [wire.Screen(*SIZE), wire.MouseCursor(wire.CursorShape.ARROW)]
        seen = len(viewer.commands)
        stage.source.paint(Rect(70, 10, 5, 5), 2)
        await until(lambda: stage.shows(viewer))
        (picture,) = viewer.commands[seen:]
        assert isinstance(picture, wire.Picture) and (picture.x, picture.y) == (70, 10)


async def test_one_encode_serves_all_who_want_the_same() -> None:
    async with staged() as stage:
        first = stage.join(Onlooker())
        await until(lambda: stage.shows(first))
        count = stage.encoder.count
        others = [stage.join(Onlooker()) for _ in range(5)]
        await until(lambda: all(stage.shows(one) for one in others))
        assert stage.encoder.count == count
        stage.source.paint(whole(SIZE), 2)
        await until(lambda: all(stage.shows(one) for one in [first, *others]))
        assert stage.encoder.count == 2 * count
        assert stage.endpoint.viewers == 6


async def test_nobody_looks_nothing_is_asked_and_who_comes_sees_the_newest() -> None:
    async with staged() as stage:
        await asyncio.sleep(0.01)
        assert stage.source.asked == 0 and not stage.source.watched
        await stage.leave(await shown(stage))
        asked = stage.source.asked
        assert not stage.source.watched and stage.endpoint.viewers == 0
        for seed in range(5):
            stage.source.paint(whole(SIZE), seed)
            await asyncio.sleep(0.002)
        assert stage.source.asked <= asked + 1
        late = await shown(stage)
        assert len(late.of(wire.Screen)) == 1


async def shown(stage: Stage) -> Onlooker:
    viewer = stage.join(Onlooker())
    await until(lambda: stage.shows(viewer))
    return viewer


async def test_a_resize_is_announced_to_all() -> None:
    async with staged() as stage:
        viewers = [await shown(stage), await shown(stage)]
        stage.source.resize(Size(300, 90), 5)
        await until(lambda: all(stage.shows(one) for one in viewers))
        for viewer in viewers:
            assert viewer.of(wire.Screen) == [wire.Screen(*SIZE), wire.Screen(300, 90)]
        assert stage.endpoint.size == (300, 90)


async def test_pointer_and_lock_keys_are_told_to_all_and_to_who_comes_later() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        stage.source.set_pointer(False)
        stage.source.set_lock_keys(wire.CAPS_LOCK)
        await until(lambda: wire.KeyState(wire.CAPS_LOCK) in viewer.commands)
        late = await shown(stage)
        for one in (viewer, late):
            assert one.of(wire.MouseCursor)[-1] == wire.MouseCursor(wire.CursorShape.NONE)
            assert one.of(wire.KeyState)[-1] == wire.KeyState(wire.CAPS_LOCK)


async def test_what_the_mouse_is_is_told_to_who_asks_and_told_again_when_it_becomes_another() -> None:
    async with staged() as stage:
        viewer, other = await shown(stage), await shown(stage)
        viewer.say(wire.Abilities(wire.ASKS_OF_MOUSE))
        await until(lambda: viewer.of(wire.MouseKind) == [wire.MouseKind(mouse.HAS_SIDES)])
        stage.source.set_relative(True)
        await until(lambda: len(viewer.of(wire.MouseKind)) == 2)
        late = stage.join(Onlooker())
        late.say(wire.Abilities(wire.ASKS_OF_MOUSE))
        await until(lambda: late.of(wire.MouseKind))
        relative = wire.MouseKind(mouse.HAS_SIDES | mouse.RELATIVE)
        assert viewer.of(wire.MouseKind)[1:] == late.of(wire.MouseKind) == [relative]
        assert other.of(wire.MouseKind) == []


PICTURE = PointerPicture(2, 1, 1, 0, b"\xff\x00\x00\x80\x00\x00\x00\x00")
POINTER, NO_POINTER = wire.Pointer(2, 1, 1, 0, PICTURE.rgba), wire.Pointer(0, 0, 0, 0, b"")


async def test_what_the_pointer_looks_like_is_told_to_who_shows_it_whenever_it_comes() -> None:
    async with staged() as stage:
        viewer, other = stage.join(Onlooker()), await shown(stage)
        viewer.say(wire.Abilities(wire.SHOWS_POINTER))
        await until(lambda: viewer.of(wire.Pointer))
        assert viewer.of(wire.Pointer) == [NO_POINTER]  # and nothing of an endpoint before
        stage.source.set_picture(PICTURE)
        stage.source.set_pointer(True)
        await until(lambda: len(viewer.of(wire.Pointer)) == 2)
        late = stage.join(Onlooker())
        late.say(wire.Abilities(wire.SHOWS_POINTER))
        await until(lambda: late.of(wire.Pointer))
        assert late.of(wire.Pointer) == [POINTER] and viewer.of(wire.Pointer) == [NO_POINTER, POINTER]
        stage.source.set_picture(UNKNOWN)
        await until(lambda: len(late.of(wire.Pointer)) == 2)
        assert late.of(wire.Pointer)[1] == NO_POINTER
        assert other.of(wire.Pointer) == [] and other.of(wire.MouseCursor)


async def test_the_same_pointer_again_is_no_news() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        viewer.say(wire.Abilities(wire.SHOWS_POINTER))
        for _ in range(3):
            stage.source.set_picture(PICTURE)
            await asyncio.sleep(0.01)
        stage.source.set_lock_keys(wire.CAPS_LOCK)
        await until(lambda: viewer.of(wire.KeyState))
        assert viewer.of(wire.Pointer)[-1] == POINTER and viewer.of(wire.Pointer).count(POINTER) == 1


async def test_questions_are_answered() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        viewer.say(wire.GetDisplays(), wire.InputLock(wire.QUERY_LOCK), wire.InitTouch(), wire.Nop())
        await until(lambda: wire.InputLock(wire.UNLOCKED) in viewer.commands)
        assert wire.DisplayList((), 0) in viewer.commands


LEFT, RIGHT = wire.Display(1, 0, 0, 100, 140), wire.Display(2, 100, 0, 100, 140)


async def test_displays_are_told_and_one_viewers_choice_is_everybodys() -> None:
    async with staged() as stage:
        first, second = await shown(stage), await shown(stage)
        stage.source.set_displays(LEFT, RIGHT)
        all_of_them = [wire.DisplayInfo((LEFT, RIGHT)), wire.DisplayList((1, 2, wire.ALL_DISPLAYS), wire.ALL_DISPLAYS)]
        await until(lambda: all(one.commands[-2:] == all_of_them for one in (first, second)))
        first.say(wire.SetDisplay(2))
        await until(
            lambda: all(one.commands[-1] == wire.DisplayList((1, 2, wire.ALL_DISPLAYS), 2) for one in (first, second))
        )
        late = await shown(stage)
        assert late.of(wire.DisplayList) == [wire.DisplayList((1, 2, wire.ALL_DISPLAYS), 2)]
        late.say(wire.GetDisplays())
        await until(lambda: len(late.of(wire.DisplayList)) == 2)
        assert late.commands[-2:] == [wire.DisplayInfo((LEFT, RIGHT)), wire.DisplayList((1, 2, wire.ALL_DISPLAYS), 2)]
        stage.source.set_displays()
        await until(lambda: first.commands[-1] == wire.DisplayList((), 0))
        assert not (await shown(stage)).of(wire.DisplayInfo)


async def test_a_display_that_is_not_there_or_not_ours_to_choose_is_not_selected() -> None:
    async with staged() as stage:
        viewer, onlooker = await shown(stage), stage.join(Onlooker(), view_only=True)
        stage.source.set_displays(LEFT, RIGHT)
        await until(lambda: viewer.of(wire.DisplayList) and onlooker.of(wire.DisplayList))
        viewer.say(wire.SetDisplay(7))
        onlooker.say(wire.SetDisplay(1), wire.GetDisplays())
        viewer.say(wire.SetDisplay(wire.ALL_DISPLAYS))
        await until(lambda: stage.source.selected and len(onlooker.of(wire.DisplayList)) >= 2)
        assert stage.source.selected == [wire.ALL_DISPLAYS]


async def test_what_is_no_news_is_not_told_again() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        stage.source.set_displays(LEFT, RIGHT)
        await until(lambda: viewer.of(wire.DisplayList))
        seen = len(viewer.commands)
        stage.source.set_pointer(False)
        await until(lambda: len(viewer.commands) > seen)
        assert viewer.commands[seen:] == [wire.MouseCursor(wire.CursorShape.NONE)]


async def test_a_scaled_pixel_that_lies_in_two_tiles_is_never_an_old_one() -> None:
    # At 350/1024 row 21 of the picture shows rows 62 to 64 of the frame: the end of one tile, the start of the next.
    async with staged() as stage:
        first, second = await shown(stage), await shown(stage)
        for viewer in (first, second):
            viewer.say(wire.Compression(1, 50, 350, 20))
        await until(lambda: stage.shows(first, 350) and stage.shows(second, 350))
        second.say(wire.Pause(True))
        for rect in (Rect(0, 64, 128, 64), Rect(0, 0, 64, 64)):
            stage.source.paint(rect, rect.y)
            await until(lambda: stage.shows(first, 350))
        second.say(wire.Pause(False))
        await until(lambda: stage.shows(second, 350))


# --- hands ---


async def test_a_viewer_says_that_it_names_keys_by_legend() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        viewer.say(wire.Key(65, True))
        viewer.say(wire.Key(65, False))
        viewer.say(wire.Abilities(wire.KEYS_BY_LEGEND))
        viewer.say(wire.Key(65, True))
        viewer.say(wire.Key(0x10, True))
        await until(lambda: len(stage.sink.done) == 4)
        marked = [(one.vk, one.legend) for one in stage.sink.done if isinstance(one, PressKey)]
        assert marked == [(65, False), (65, False), (65, True), (0x10, False)]


async def test_input_reaches_the_sink_while_pictures_wait() -> None:
    async with staged() as stage:
        stage.source.resize(Size(640, 480), 1)
        stuck = stage.join(Onlooker(reads=False))
        await until(lambda: stuck.unsent_bytes() > HIGH_WATER)
        stuck.say(wire.Key(65, True), wire.Mouse(3, 4, wire.LEFT_DOWN))
        await until(lambda: len(stage.sink.done) == 2)
        assert stage.sink.done == [PressKey(65, False, True), MovePointer(3, 4, 1)]


async def test_what_a_viewer_held_is_let_go_when_it_leaves() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        viewer.say(wire.Key(65, True), wire.Key(66, True), wire.Key(66, False), wire.Mouse(3, 4, wire.RIGHT_DOWN))
        await until(lambda: len(stage.sink.done) == 4)
        await stage.leave(viewer)
        assert stage.sink.done[4:] == [PressKey(65, False, False), MovePointer(3, 4, 0)]


async def test_a_cancelled_viewer_lets_go_too() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        viewer.say(wire.Key(65, True))
        await until(lambda: stage.sink.done)
        stage.serving.pop(viewer).cancel()
        await until(lambda: len(stage.sink.done) == 2)
        assert stage.sink.done[1] == PressKey(65, False, False)
        assert stage.endpoint.viewers == 0


async def test_who_only_looks_touches_nothing_but_may_refresh() -> None:
    async with staged() as stage:
        viewer = stage.join(Onlooker(), view_only=True)
        await until(lambda: stage.shows(viewer))
        viewer.say(wire.Key(65, True), wire.KeyUnicode(97, True), wire.Mouse(1, 1, wire.LEFT_DOWN), wire.Refresh())
        await until(lambda: len(viewer.of(wire.Screen)) == 2)
        await stage.leave(viewer)
        assert stage.sink.done == []


async def test_what_cannot_be_typed_is_said_in_few_words() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        viewer.say(*(wire.KeyUnicode(ord(char), True) for char in "aéé√é" * 50))
        await until(lambda: viewer.texts)
        await asyncio.sleep(0.05)
        (text,) = viewer.texts
        assert '"ctrlChannel": "102938"' in text and '"type": "console"' in text
        assert "cannot type: " in text and "\\u00e9" in text
        assert stage.sink.done == [TypeText("a")] * 50


async def test_nonsense_ends_its_viewer_with_a_wire_error_and_nobody_else() -> None:
    async with staged() as stage:
        other, bad = await shown(stage), Onlooker()
        serving = stage.tasks.create_task(_catch(stage.endpoint.serve(bad)))
        bad.say(wire.Key(65, True))
        bad.say_bytes(b"\x00\x01\x00\x01")
        assert isinstance(await serving, WireError)
        assert stage.sink.done == [PressKey(65, False, True), PressKey(65, False, False)]
        stage.source.paint(whole(SIZE), 9)
        await until(lambda: stage.shows(other))


async def _catch(awaitable) -> Exception | None:
    try:
        await awaitable
    except Exception as caught:
        return caught
    return None


# --- ends ---


async def test_when_the_source_ends_so_does_run_and_viewers_hear_why() -> None:
    async with staged() as stage:
        viewers = [await shown(stage), await shown(stage)]
        stage.source.end(SourceEnded("the machine has stopped"))
        await stage.run
        for viewer in viewers:
            await stage.serving.pop(viewer)
            assert viewer.closed == (1001, "the machine has stopped")
        late = Onlooker()
        await stage.endpoint.serve(late)
        assert late.closed == (1001, "the machine has stopped")
        assert stage.endpoint.viewers == 0


async def test_a_source_that_fails_is_an_error_of_run_and_an_end_for_viewers() -> None:
    source, viewer = PaintedSource(SIZE), Onlooker()
    endpoint = Endpoint(source, MemorySink(), encoder=RawEncoder())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(endpoint.serve(viewer))
        run = tasks.create_task(_catch(endpoint.run()))
        await until(lambda: viewer.commands)
        source.end(RfbError("nonsense"))
        assert isinstance(await run, RfbError)
    assert viewer.closed == (1001, "nonsense")


async def test_a_cancelled_endpoint_parts_from_its_viewers() -> None:
    async with staged() as stage:
        viewer = await shown(stage)
        stage.run.cancel()
        await stage.serving.pop(viewer)
        assert viewer.closed is not None and viewer.closed[0] == 1001


async def test_live_is_when_something_shows() -> None:
    async with staged(blank=True) as stage:
        waiting = stage.tasks.create_task(stage.endpoint.wait_live(5.0))
        await until(lambda: stage.endpoint.size == SIZE)
        assert not waiting.done()
        stage.source.paint(Rect(10, 10, 20, 20), 1)
        await waiting
        assert not stage.source.watched
        await stage.endpoint.wait_live(1.0)


async def test_what_never_comes_alive_is_said_to_be_so() -> None:
    async with staged(blank=True) as stage:
        with pytest.raises(DeadlineError, match=r"stayed blank for 0\.05 s"):
            await stage.endpoint.wait_live(0.05)
        waiting = stage.tasks.create_task(_catch(stage.endpoint.wait_live(5.0)))
        await until(lambda: stage.source.watched)
        stage.source.end(SourceEnded("the server closed the connection"))
        assert isinstance(failure := await waiting, MachineError) and "closed the connection" in failure.message


# --- the law of input; those of pictures are in test_laws_of_delivery ---

keys = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([65, 66, 67]), st.booleans()), max_size=40)


@settings(deadline=None, max_examples=40)
@given(keys)
def test_no_key_is_lost_or_reordered(events) -> None:
    asyncio.run(_press(events))


async def _press(events) -> None:
    # The two viewers use keys of their own, so that nothing of one can stand for the other's.
    async with staged() as stage:
        hands = [stage.join(Onlooker()), stage.join(Onlooker(reads=False))]
        for who, vk, down in events:
            stage.source.paint(whole(SIZE), vk)
            hands[who].say(wire.Key(vk + 10 * who, down))
        await until(lambda: len(stage.sink.done) >= len(events))
        for who in (0, 1):
            mine = [(one.vk - 10 * who, one.down) for one in stage.sink.done if 65 <= one.vk - 10 * who < 70]
            assert mine == [(vk, down) for whose, vk, down in events if whose == who]
