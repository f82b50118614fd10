"""The daemon, its viewers and agents of two users, in real processes over real sockets."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import stat
from pathlib import Path

import pytest

from isolation import patient
from pommel.errors import BusyError, MissingProgram, NotPermitted
from pommel.session import seat as seat_module
from pommel.session.sessions import Session
from session.scene import ANN, BOB, HASTY, PATIENCE_S, Scene, Viewer
from waits import until


def screens(viewer: Viewer) -> list[str]:
    return [data.decode().split(" by ")[0] for data in viewer.shown if data.startswith(b"screen of")]


def pids(viewer: Viewer) -> list[int]:
    return [int(data.decode().split(" by ")[1]) for data in viewer.shown if data.startswith(b"screen of")]


async def test_from_the_first_viewer_to_the_last(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN):
        assert scene.traces() == []
        async with scene.looking(daemon) as viewer:
            await until(lambda: viewer.shown, what="a picture")
            assert scene.traces() == [f"{ANN}.sock", f"{ANN}.token", "session-active"]
            assert screens(viewer) == [f"screen of {ANN}"]
            viewer.say(b"key")
            await until(lambda: b"echo key" in viewer.shown)
            async with scene.looking(daemon) as second:
                await until(lambda: second.shown, what="the second viewer's picture")
                assert second.shown[0].startswith(b"screen of")
                assert pids(second) == pids(viewer)
                assert daemon.viewers == 2
            viewer.say(b"again")
            await until(lambda: b"echo again" in viewer.shown)
            assert b"echo again" not in second.shown
        agent = scene.children[0]
        await until(lambda: agent.poll() is not None, what="the agent's leaving")
        assert agent.poll() == 0
        assert agent.lines == ["let go", "let go", "left: the daemon has closed the connection"]
        await until(lambda: scene.traces() == [], what="cleaning up")
    assert len(scene.children) == 1
    assert Path(scene.places.signals).is_dir()


async def test_socket_and_token_are_the_sessions_users_in_a_directory_that_is_not(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.looking(daemon):
        await until(lambda: "session-active" in scene.traces())
        socket, token = Path(scene.places.socket(ANN)).lstat(), Path(scene.places.token(ANN)).lstat()
        assert (stat.S_IMODE(socket.st_mode), socket.st_uid) == (0o600, ANN)
        assert (stat.S_IMODE(token.st_mode), token.st_uid) == (0o400, ANN)
        for folder in (scene.places.sockets, scene.places.signals):
            assert os.stat(folder).st_uid == 0
            assert not os.stat(folder).st_mode & 0o022


async def test_the_viewer_stays_while_the_session_changes(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN, BOB), scene.looking(daemon) as viewer:
        await until(lambda: screens(viewer) == [f"screen of {ANN}"], what="Ann's screen")
        wish = bytes((0, 5, 0, 6, 1, 70))
        viewer.say(wish)
        await until(lambda: b"echo " + wish in viewer.shown)
        scene.active = Session(BOB, "2")
        await until(lambda: screens(viewer) == [f"screen of {ANN}", f"screen of {BOB}"], what="Bob's screen")
        assert "switching session…" in viewer.told
        await until(lambda: viewer.shown[-1] == b"echo " + wish, what="the wish, told to the next agent")
        viewer.say(b"key")
        await until(lambda: viewer.shown[-1] == b"echo key")
        assert scene.traces() == [f"{BOB}.sock", f"{BOB}.token", "session-active"]
        # Logout, and a while at nobody's.
        scene.active = None
        await until(lambda: scene.traces() == [])
        scene.active = Session(ANN, "3")
        await until(lambda: screens(viewer)[2:] == [f"screen of {ANN}"], what="Ann's next session")
        assert viewer.closed is None


async def test_a_killed_agent_is_followed_by_the_next(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN), scene.looking(daemon) as viewer:
        await until(lambda: pids(viewer))
        next(child for child in scene.children if child.pid == pids(viewer)[0]).kill()
        await until(lambda: len(pids(viewer)) == 2, what="the next agent")
        assert viewer.told == ["switching session…"]


async def test_a_newer_agent_takes_over(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.looking(daemon) as viewer:
        first = scene.start("agent", ANN)
        await until(lambda: pids(viewer) == [first.pid])
        second = scene.start("agent", ANN)
        await until(lambda: pids(viewer) == [first.pid, second.pid])
        await until(lambda: first.poll() == 0)


async def test_a_killed_daemon_and_what_it_left(scene: Scene) -> None:
    dying = scene.start("daemon", ANN)
    await until(lambda: "session-active" in scene.traces(), what="the daemon's signal")
    agent = scene.start("agent", ANN)
    await until(lambda: dying.said("shown: screen of"), what="its viewer's picture")
    with pytest.raises(BusyError, match=f"another daemon of pommel runs.*{dying.pid}"):
        await scene.daemon(HASTY).run()
    assert "session-active" in scene.traces()
    dying.kill()
    await until(lambda: agent.poll() is not None, what="the agent's leaving")
    assert agent.lines == ["let go", "left: the daemon has closed the connection"]
    assert scene.traces() == [f"{ANN}.sock", f"{ANN}.token", "session-active"]
    stranger = Path(scene.places.signals) / "somebodys"
    stranger.touch()
    async with scene.serving() as daemon:
        await until(lambda: scene.traces() == ["somebodys"], what="the next daemon's cleaning up")
        assert any("somebodys does not belong to Pommel" in line for line in scene.log)
        async with scene.launcher(ANN), scene.looking(daemon) as viewer:
            await until(lambda: viewer.shown)
            stranger.unlink()


async def test_an_agent_that_nobody_awaits_leaves_by_itself(scene: Scene) -> None:
    agent = scene.start("agent", ANN)
    await until(lambda: agent.poll() is not None)
    assert (agent.poll(), agent.lines) == (0, ["left: no viewers"])


@pytest.mark.parametrize("where", ["socket", "token"])
async def test_squatted_names(scene: Scene, where: str) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN):
        place = Path(scene.places.socket(ANN) if where == "socket" else scene.places.token(ANN))
        place.mkdir()
        async with scene.looking(daemon) as viewer:
            await until(lambda: viewer.shown, what="a picture all the same")
        await until(lambda: scene.traces() == [f"{place.name}.squatted-1"])


@pytest.mark.parametrize("owner", [ANN, 0])
async def test_unsafe_directories(scene: Scene, owner: int) -> None:
    where = Path(scene.places.sockets)
    where.mkdir()
    where.chmod(0o777)
    os.chown(where, owner, -1)
    with pytest.raises(NotPermitted):
        await scene.daemon(HASTY).run()
    assert list(where.iterdir()) == []


# --- why nothing is shown ---


async def told(scene: Scene, *, mode: str = "agent", uids: tuple[int, ...] = ()) -> tuple[int, str]:
    """What a viewer is told that cannot be served."""
    async with scene.serving(HASTY) as daemon, scene.launcher(*uids, mode=mode), scene.looking(daemon) as viewer:
        await until(lambda: viewer.closed is not None, what="a word")
        assert viewer.closed is not None
        assert viewer.told[-1] == viewer.closed[1]
        return viewer.closed


async def test_nobody_is_logged_in(scene: Scene) -> None:
    scene.active = None
    assert await told(scene) == (1013, "no user is logged in")


async def test_the_agent_is_not_installed(scene: Scene) -> None:
    scene.installed = False
    assert await told(scene) == (1013, "the agent is not installed")


async def test_no_agent_comes(scene: Scene) -> None:
    assert await told(scene) == (1013, "the session's agent did not connect within 0.6 s")
    assert scene.traces() == []


async def test_an_agent_that_starts_slowly_is_waited_for_by_a_viewer_that_knows(scene: Scene) -> None:
    """If the viewer were sent away, the signal would go, the agent would end, and the next one would be no quicker."""
    timing = dataclasses.replace(HASTY, prepare_s=PATIENCE_S, patience_s=2 * PATIENCE_S)
    async with scene.serving(timing) as daemon, scene.looking(daemon) as viewer:
        await until(lambda: viewer.told, what="a word")
        assert re.fullmatch(r"the session's agent did not connect within \d+ s; still waiting", viewer.told[-1])
        assert "session-active" in scene.traces()
        scene.start("agent", ANN)
        await until(lambda: viewer.shown, what="a picture")
        assert viewer.closed is None and len(viewer.told) == 1


async def test_the_active_session_cannot_be_asked_for(scene: Scene) -> None:
    def ask() -> Session | None:
        raise MissingProgram("there is no libsystemd")

    daemon = scene.daemon(HASTY)
    daemon._around = type(daemon._around)(ask, scene.expected, daemon._around.senses, lambda: True, scene.log.append)
    running = asyncio.ensure_future(daemon.run())
    viewer = Viewer()
    await daemon.view(viewer)
    running.cancel()
    await asyncio.wait([running])
    assert viewer.closed == (1013, "there is no libsystemd")


async def test_screen_recording_is_not_permitted(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN, mode="troubled"), scene.looking(daemon) as viewer:
        await until(lambda: viewer.closed)
        assert viewer.closed is not None
        assert viewer.closed[1].startswith("screen recording is not permitted")
    assert len(scene.children) == 1


async def test_the_full_disk(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pommel.session.directory.SafeDirectory.write", full)
    code, reason = await told(scene)
    assert code == 1013
    assert "No space left on device" in reason


async def test_the_daemon_stops_while_it_is_looked_at(scene: Scene) -> None:
    viewer = Viewer()
    async with scene.serving() as daemon, scene.launcher(ANN):
        viewing = asyncio.ensure_future(daemon.view(viewer))
        await until(lambda: viewer.shown)
    await viewing
    assert viewer.closed == (1001, "the daemon is stopping")
    assert scene.traces() == []
    await until(lambda: scene.children[0].poll() == 0)


# --- what an agent says of one viewer ---


async def test_an_agent_parts_from_one_viewer(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN), scene.looking(daemon) as viewer:
        await until(lambda: viewer.shown)
        viewer.say(b"close 1008")
        await until(lambda: viewer.closed)
        assert viewer.closed == (1008, "no more")


async def test_a_viewers_own_error(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN), scene.looking(daemon) as stays:
        async with scene.looking(daemon) as viewer:
            await until(lambda: viewer.shown and stays.shown)
            viewer.say(b"wrong")
            await until(lambda: viewer.closed)
            assert viewer.closed == (1011, "this viewer is too much")
        stays.say(b"key")
        await until(lambda: b"echo key" in stays.shown)
        assert pids(stays) == pids(viewer)


async def test_a_stream_that_just_ends_is_no_reason_to_send_the_agent_away(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN), scene.looking(daemon) as stays:
        async with scene.looking(daemon) as viewer:
            await until(lambda: viewer.shown and stays.shown)
            viewer.say(b"return")
            await until(lambda: viewer.closed)
            assert viewer.closed == (1011, "the session's agent no longer serves this viewer")
        stays.say(b"key")
        await until(lambda: b"echo key" in stays.shown)
        assert len(pids(stays)) == 1


async def test_a_viewer_that_has_died_without_a_word(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN), scene.looking(daemon) as stays:
        async with scene.looking(daemon) as dead:
            await until(lambda: dead.shown and stays.shown)
            monkeypatch.setattr(seat_module, "_STALL_S", 0.2)
            dead.stuck.clear()
            dead.say(b"big")
            await until(lambda: dead.closed)
            assert dead.closed == (1008, "this viewer has not read for 0.2 s")
        stays.say(b"key")
        await until(lambda: b"echo key" in stays.shown)
        assert len(pids(stays)) == 1


@pytest.mark.parametrize("what", [b"fault", b"close 1001"])
async def test_an_agent_whose_screen_has_ended_is_followed_by_the_next(scene: Scene, what: bytes) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN), scene.looking(daemon) as viewer:
        await until(lambda: len(pids(viewer)) == 1)
        viewer.say(what)
        await until(lambda: len(pids(viewer)) == 2, what="the next agent")
        assert viewer.closed is None


async def test_what_has_not_left_for_the_viewer_counts_as_unsent(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN), scene.looking(daemon) as viewer:
        await until(lambda: viewer.shown)
        viewer.waiting = 7  # in the viewer's own transport
        viewer.say(b"hello")
        await until(lambda: len(viewer.shown) == 2)
        viewer.say(b"unsent")
        await until(lambda: viewer.told)
        assert int(viewer.told[0]) >= 7
        viewer.waiting = 0

        async def asked_again() -> bool:
            viewer.say(b"unsent")
            count = len(viewer.told)
            await until(lambda: len(viewer.told) > count)
            return viewer.told[-1] == "0"

        async with asyncio.timeout(patient(10)):
            while not await asked_again():
                await asyncio.sleep(0.02)


async def test_a_viewer_that_does_not_read_holds_up_nobody(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.launcher(ANN), scene.looking(daemon) as slow:
        async with scene.looking(daemon) as quick:
            await until(lambda: slow.shown and quick.shown)
            slow.stuck.clear()
            slow.say(b"big")
            for turn in range(5):
                quick.say(b"%d" % turn)
                await until(lambda wanted=b"echo %d" % turn: wanted in quick.shown)  # type: ignore[misc]
        slow.stuck.set()
        await until(lambda: slow.shown[-1] == b"end")
        assert len(slow.shown[-2]) == 4 << 20
