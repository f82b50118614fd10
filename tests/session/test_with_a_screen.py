"""The real endpoint behind the socket: what the page gets is what it would get without one in between."""

from __future__ import annotations

import asyncio

from isolation import patient
from pommel.screen.actions import BACK, MovePointer, RelativeMove, TurnWheel
from pommel.screen.endpoint import Endpoint
from pommel.screen.geometry import Rect, Size, whole
from pommel.session.session_agent import AgentOptions, SessionAgent
from pommel.session.sessions import Session
from pommel.wire import messages as wire
from pommel.wire import mouse
from pommel.wire.codec import Decoder, encode
from screen.doubles import MemorySink, PaintedSource, RawEncoder
from session.scene import PATIENCE_S, Scene, Viewer
from waits import until

A = 0x41


def heard(viewer: Viewer) -> list[wire.Command]:
    """The commands that a viewer got, one a message as its page needs them."""
    commands = []
    for message in viewer.shown:
        decoder = Decoder(wire.Direction.TO_VIEWER)
        decoder.receive_data(message)
        (command,) = decoder.events()
        commands.append(command)
    return commands


async def test_screen_first_then_pictures_and_nothing_held_down_in_the_end(scene: Scene) -> None:
    scene.active = Session(0, "loginwindow", "login")
    source, sink = PaintedSource(Size(64, 48)), MemorySink()
    endpoint = Endpoint(source, sink)
    pumping = asyncio.ensure_future(endpoint.run())
    async with scene.serving() as daemon:
        async with scene.looking(daemon) as first:
            await until(lambda: "session-active" in scene.traces())
            agent = SessionAgent(scene.places, endpoint.serve, AgentOptions(pause_s=0.05))
            living = asyncio.ensure_future(agent.run())
            await until(lambda: any(isinstance(one, wire.Picture) for one in heard(first)), what="a picture")
            async with scene.looking(daemon) as second:
                await until(lambda: any(isinstance(one, wire.Picture) for one in heard(second)))
                for viewer in (first, second):
                    assert heard(viewer)[0] == wire.Screen(64, 48)
                count = len(first.shown)
                source.paint(Rect(0, 0, 8, 8), 1)
                await until(lambda: len(first.shown) > count, what="what changed")
            first.say(encode(wire.Key(A, down=True)))
            await until(lambda: sink.done, what="the key")
            assert len(sink.done) == 1
        async with asyncio.timeout(patient(PATIENCE_S)):
            assert await living == "the daemon has closed the connection"
        assert len(sink.done) == 2
        assert type(sink.done[0]) is type(sink.done[1])
        assert sink.done[0] != sink.done[1]
    pumping.cancel()
    await asyncio.wait([pumping])


async def test_a_mouse_s_wheels_sides_and_movements_reach_the_session_and_it_tells_what_it_has(scene: Scene) -> None:
    scene.active = Session(0, "loginwindow", "login")
    source, sink = PaintedSource(Size(64, 48)), MemorySink()
    endpoint = Endpoint(source, sink)
    pumping = asyncio.ensure_future(endpoint.run())
    async with scene.serving() as daemon, scene.looking(daemon) as viewer:
        viewer.say(encode(wire.Abilities(wire.ASKS_OF_MOUSE)))  # before there is anybody to ask: the daemon keeps it
        await until(lambda: "session-active" in scene.traces())
        agent = SessionAgent(scene.places, endpoint.serve, AgentOptions(pause_s=0.05))
        living = asyncio.ensure_future(agent.run())
        await until(lambda: wire.MouseKind(mouse.HAS_SIDES) in heard(viewer), what="what the mouse is")
        source.set_relative(True)
        await until(
            lambda: wire.MouseKind(mouse.HAS_SIDES | mouse.RELATIVE) in heard(viewer), what="that it is another"
        )
        for said in (wire.Turn(3, 4, -60, 240), wire.SideButton(3, 4, mouse.BACK, True), wire.MoveBy(-5, 6, 0)):
            viewer.say(encode(said))
        await until(lambda: len(sink.done) >= 3, what="the hands")
        assert sink.done == [TurnWheel(3, 4, 0, -60, 240), MovePointer(3, 4, BACK), RelativeMove(-5, 6, BACK)]
    async with asyncio.timeout(patient(PATIENCE_S)):
        await living
    assert sink.done[3:] == [MovePointer(3, 4, 0)], "what was down is let go of"
    pumping.cancel()
    await asyncio.wait([pumping])


async def test_what_scrolls_in_the_session_comes_as_a_move_to_the_page_that_says_it_takes_some(scene: Scene) -> None:
    scene.active = Session(0, "loginwindow", "login")
    size = Size(448, 330)
    source = PaintedSource(size)
    source.paint(whole(size), 1)
    endpoint = Endpoint(source, MemorySink(), encoder=RawEncoder())
    pumping = asyncio.ensure_future(endpoint.run())
    async with scene.serving() as daemon, scene.looking(daemon) as viewer:
        viewer.say(encode(wire.Abilities(wire.TAKES_MOVES)))
        await until(lambda: "session-active" in scene.traces())
        agent = SessionAgent(scene.places, endpoint.serve, AgentOptions(pause_s=0.05))
        living = asyncio.ensure_future(agent.run())
        await until(lambda: any(isinstance(one, wire.Picture) for one in heard(viewer)), what="a picture")
        await asyncio.sleep(0.5)  # all of it
        source.scroll(whole(size), 0, -12, 2)
        await until(lambda: wire.Move(0, 12, 448, 318, 0, 0) in heard(viewer), what="the move")
    async with asyncio.timeout(patient(PATIENCE_S)):
        await living
    pumping.cancel()
    await asyncio.wait([pumping])
