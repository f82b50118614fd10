"""Strangers at a real door: other users, other programs, borrowed descriptors, silence."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from pommel.errors import PommelError
from pommel.session import door as door_module
from pommel.session.challenge import MAGIC
from pommel.session.peer import Peer, agent_expected, judge, judge_answer
from pommel.session.peer_linux import collect, now, program_of
from session.scene import ANN, BOB, PATIENCE_S, Scene
from waits import until

# perl is in every Debian: another program, run by the right user.
PERL = (
    "use Socket; $) = $( = {uid}; $< = $> = {uid}; "
    "for (1..500) {{ socket(S, AF_UNIX, SOCK_STREAM, 0); last if connect(S, pack_sockaddr_un('{path}')); "
    "select undef, undef, undef, 0.02 }} "
    "$| = 1; print 'heard: '; while (sysread(S, $b, 999)) {{ print $b }} print qq(\\n)"
)

SWAPPER = (
    "use Socket; $^F = 255; $) = $( = {uid}; $< = $> = {uid}; $| = 1; socket(S, AF_UNIX, SOCK_STREAM, 0); "
    "connect(S, pack_sockaddr_un('{path}')) or die; print qq(connected\n); my $go = <STDIN>; "
    "exec 'perl', '-e', '$| = 1; print qq(swapped\n); my $end = <STDIN>'"
)


async def refused(scene: Scene, mode: str, reason: str) -> list[str]:
    """Have a stranger knock, and the true agent come after it; return what the stranger saw."""
    async with scene.serving() as daemon, scene.looking(daemon) as viewer:
        if mode == "perl":
            program = PERL.format(uid=ANN, path=scene.places.socket(ANN))
            stranger = scene.start_program(["perl", "-e", program])
        else:
            stranger = scene.start(mode, ANN)
        await until(lambda: any(reason in line for line in scene.log), what=reason)
        assert any("agent refused: " in line and "pid=" in line for line in scene.log)
        await until(lambda: stranger.poll() is not None, what="the stranger's end")
        assert viewer.shown == []
        true = scene.start("agent", ANN)
        await until(lambda: viewer.shown, what="the true agent's screen")
        assert viewer.shown[0].endswith(str(true.pid).encode())
        return stranger.lines


async def test_another_program_of_the_sessions_user(scene: Scene) -> None:
    lines = await refused(scene, "perl", "it runs another program: ")
    assert "it runs another program" in "".join(lines)


async def test_a_child_that_answers_for_its_parent(scene: Scene) -> None:
    lines = await refused(scene, "impostor", "answers on a descriptor that pid")
    assert "let in" not in lines


async def test_the_right_program_without_the_secret(scene: Scene) -> None:
    (line,) = await refused(scene, "guesser", "does not know the session's secret")
    assert "does not know" in line


async def test_another_user_cannot_even_connect(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.looking(daemon):
        await until(lambda: "session-active" in scene.traces())
        stranger = scene.start("stranger", BOB, VICTIM=str(ANN))
        await until(lambda: stranger.poll() is not None)
        assert stranger.lines == ["no permission"]


async def test_root_is_not_the_sessions_user(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.looking(daemon):
        await until(lambda: "session-active" in scene.traces())
        stranger = scene.start("stranger", 0, VICTIM=str(ANN))
        await until(lambda: stranger.poll() is not None)
        assert stranger.said("it runs as uid 0")


async def test_one_that_says_nothing_is_in_nobodys_way(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "_CHALLENGE_S", 0.5)
    async with scene.serving() as daemon, scene.looking(daemon) as viewer:
        silent = scene.start("silent", ANN)
        await until(lambda: silent.said("connected"))
        scene.start("agent", ANN)
        await until(lambda: viewer.shown, what="the agent's screen")
        await until(lambda: any("did not answer" in line for line in scene.log))


async def test_a_flood(scene: Scene) -> None:
    async with scene.serving() as daemon, scene.looking(daemon) as viewer:
        await until(lambda: "session-active" in scene.traces())
        there = []
        for _ in range(30):
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(scene.places.socket(ANN)))
            there.append(one)
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        scene.start("agent", ANN)
        await until(lambda: viewer.shown, what="the agent's screen")
        for one in there:
            one.close()


async def test_an_exec_while_connected_shows(scene: Scene) -> None:
    """The attack of remote-desktop.md 5.2: connect, then become another image with the connection open."""
    Path(scene.places.sockets).mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(scene.places.socket(ANN)))
        os.chown(scene.places.socket(ANN), ANN, -1)
        listener.listen()
        child = scene.start_program(["perl", "-e", SWAPPER.format(uid=ANN, path=scene.places.socket(ANN))])
        listener.settimeout(PATIENCE_S)
        connection, _ = listener.accept()
        with connection:
            await until(lambda: child.said("connected"))
            seen = now()
            before = collect(connection, seen)
            assert before.process is not None
            expected = agent_expected(scene.places, ANN, frozenset({before.process.program.file}), by_systemd=False)
            assert judge(before, expected).accepted
            child.tell("go")
            await until(lambda: child.said("swapped"))
            after = collect(connection, seen)
            # The same program, pid and start: only the image is another.
            assert judge(after, expected).accepted
            assert after.process is not None
            assert replace(after.process, image="") == replace(before.process, image="")
            assert "been replaced by another" in judge_answer(before, after, expected, before.pid).reason
            child.kill()
            gone = collect(connection, seen)
            assert not judge(gone, expected).accepted


def facts(pid: int, connection: socket.socket) -> Peer:
    found = collect(connection, now())
    assert found.pid == pid
    return found


def test_facts_of_ourselves() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = facts(os.getpid(), ours)
        assert found.uid == os.getuid()
        assert found.kernel_pid in (os.getpid(), None)
        assert found.process is not None
        assert found.process.program == program_of()
        assert found.process.uids == {os.getuid()}
        assert 0 < found.process.started <= now()
        assert found.process.cgroups
        assert collect(ours, found.seen) == found


def test_no_such_process() -> None:
    assert program_of(2**22 + 1) is None


class Squatter:
    """Somebody who listens where the daemon should, as another user."""

    def __init__(self, scene: Scene, *, owner: int, mode: int = 0o600) -> None:
        Path(scene.places.sockets).mkdir(mode=0o711)
        os.chmod(scene.places.sockets, 0o711)
        self.path = Path(scene.places.socket(ANN))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.path.chmod(mode)
        os.chown(self.path, owner, -1)
        self.listener.listen()
        token = Path(scene.places.token(ANN))
        token.write_bytes(bytes(32))
        token.chmod(0o400)
        os.chown(token, ANN, -1)
        Path(scene.places.signals).mkdir()
        Path(scene.places.signal).touch()


async def agents_word(scene: Scene) -> str:
    agent = scene.start("agent", ANN)
    await until(lambda: agent.poll() is not None, what="the agent's end")
    assert agent.poll() == 1
    return "\n".join(agent.lines)


async def test_the_agent_shows_nothing_to_a_directory_of_somebody_else(scene: Scene) -> None:
    with Squatter(scene, owner=ANN).listener:
        os.chown(scene.places.sockets, BOB, -1)
        assert f"directory belongs to uid {BOB}" in await agents_word(scene)


async def test_the_agent_shows_nothing_to_a_directory_that_others_write_to(scene: Scene) -> None:
    with Squatter(scene, owner=ANN).listener:
        os.chmod(scene.places.sockets, 0o1777)
        assert "other users can write to the socket's directory" in await agents_word(scene)


async def test_the_agent_shows_nothing_through_a_symlink(scene: Scene) -> None:
    squatter = Squatter(scene, owner=ANN)
    with squatter.listener:
        moved = squatter.path.rename(squatter.path.with_name("elsewhere"))
        squatter.path.symlink_to(moved)
        assert "the socket's path is not a socket" in await agents_word(scene)


async def test_the_agent_shows_nothing_to_a_socket_that_others_may_use(scene: Scene) -> None:
    with Squatter(scene, owner=ANN, mode=0o666).listener:
        assert "other users can use the socket" in await agents_word(scene)


async def test_the_agent_shows_nothing_to_one_who_does_not_know_the_secret(scene: Scene) -> None:
    squatter = Squatter(scene, owner=ANN)
    with squatter.listener:
        squatter.listener.settimeout(PATIENCE_S)
        word = asyncio.ensure_future(agents_word(scene))
        connection, _ = await asyncio.to_thread(squatter.listener.accept)
        with connection:
            connection.settimeout(PATIENCE_S)
            connection.sendall(MAGIC + b"C" + bytes(32) + b"A" + bytes(32))
            assert "does not know the session's secret" in await word


async def test_the_agent_goes_away_from_a_daemon_that_keeps_refusing_it(scene: Scene) -> None:
    expected = scene.expected

    def nobody(*_: object) -> object:
        return type(expected(scene.active))(ANN)  # type: ignore[arg-type]

    scene.expected = nobody  # type: ignore[method-assign, assignment]
    async with scene.serving() as daemon, scene.looking(daemon):
        await until(lambda: "session-active" in scene.traces())
        assert "it runs another program" in await agents_word(scene)
        assert sum("agent refused" in line for line in scene.log) == 3


@pytest.mark.parametrize("broken", ["short", "link", "readable by all", "fifo"])
async def test_the_agent_takes_no_secret_but_the_daemons(scene: Scene, broken: str) -> None:
    with Squatter(scene, owner=ANN).listener:
        token = Path(scene.places.token(ANN))
        if broken == "short":
            token.write_bytes(b"short")
        elif broken == "readable by all":
            token.chmod(0o444)
        else:
            token.unlink()
            if broken == "fifo":
                os.mkfifo(token, 0o600)
                os.chown(token, ANN, -1)
            else:
                token.symlink_to("/etc/hostname")
        assert str(token) in await agents_word(scene)


def test_the_errors_are_ones_that_a_face_can_show() -> None:
    from pommel.session.admission import AgentRefused
    from pommel.session.session_agent import DaemonRefusal

    assert issubclass(AgentRefused, PommelError)
    assert issubclass(DaemonRefusal, PommelError)
