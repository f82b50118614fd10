"""QMP against real QEMUs, and against things that are none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from isolation import patient
from pommel.errors import DeadlineError, MachineError, NotPermitted, PommelError, StateError
from pommel.machine import lifecycle, qmp
from pommel.paths import MachinePaths

from .bare import argv, make, short_home


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


@pytest.fixture
def running(paths: MachinePaths) -> MachinePaths:
    lifecycle.start(paths, argv(paths))
    return paths


async def test_a_command_and_its_answer(running: MachinePaths) -> None:
    async with qmp.connect(running.qmp) as monitor:
        assert await monitor.status() == "running"
        assert (await monitor.execute("query-kvm"))["enabled"] is False
        # arguments arrive
        answer = await monitor.execute("human-monitor-command", {"command-line": "info name"})
        assert isinstance(answer, str)


async def test_a_refusal_is_told_in_qemus_words(running: MachinePaths) -> None:
    async with qmp.connect(running.qmp) as monitor:
        with pytest.raises(MachineError, match=r"QEMU refuses no-such-thing: .*has not been found"):
            await monitor.execute("no-such-thing")
        assert await monitor.status() == "running"  # and it goes on


async def test_nobody_there(paths: MachinePaths) -> None:
    with pytest.raises(StateError, match="no QEMU is listening"):
        await qmp.query_status(paths.qmp, timeout_s=1)
    paths.make_runtime()
    server = await asyncio.start_unix_server(lambda r, w: w.close(), paths.qmp)
    server.close()
    await server.wait_closed()
    paths.qmp.touch()
    with pytest.raises(StateError, match="no QEMU is listening"):  # a stale file is refused by connect(2)
        await qmp.query_status(paths.qmp, timeout_s=1)


@contextlib.asynccontextmanager
async def serving(path: Path, says: bytes | None) -> AsyncIterator[None]:
    """A server that says something and hangs up; None: that says nothing and hangs on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if says is None:
            await reader.read()
        else:
            writer.write(says)
            await writer.drain()
        writer.close()

    path.parent.mkdir(parents=True, exist_ok=True)
    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield


@pytest.mark.parametrize("says", [b"RFB 003.008\n", b'{"hello": 1}\r\n', b'{"QMP": 5}\r\n', b"\xff\xfe\n"])
async def test_what_is_no_qmp_is_refused(paths: MachinePaths, says: bytes) -> None:
    async with serving(paths.qmp, says):
        with pytest.raises(MachineError, match="does not speak QMP"):
            await qmp.query_status(paths.qmp, timeout_s=5)


async def test_a_server_that_hangs_up(paths: MachinePaths) -> None:
    async with serving(paths.qmp, b""):
        with pytest.raises(MachineError, match="QEMU ended"):
            await qmp.query_status(paths.qmp, timeout_s=5)


async def test_a_server_that_is_silent(paths: MachinePaths) -> None:
    async with serving(paths.qmp, None):
        with pytest.raises(DeadlineError, match=r"in 0\.1 s"):
            await qmp.query_status(paths.qmp, timeout_s=0.1)


async def test_a_qemu_that_hangs_in_the_middle(running: MachinePaths) -> None:
    from pommel import locks

    pid = locks.holder(running.pidfile)
    assert pid is not None
    async with qmp.connect(running.qmp, timeout_s=0.3) as monitor:
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(DeadlineError, match="did not answer query-status"):
            await monitor.status()
        os.kill(pid, signal.SIGCONT)


async def test_a_qemu_that_dies_in_the_middle(running: MachinePaths) -> None:
    from pommel import locks

    pid = locks.holder(running.pidfile)
    assert pid is not None
    with pytest.raises(MachineError, match="QEMU ended"):
        async with qmp.connect(running.qmp) as monitor:
            os.kill(pid, signal.SIGKILL)
            for _ in range(100):
                await monitor.status()


async def test_many_at_once_all_get_their_turn(running: MachinePaths) -> None:
    asked = [qmp.query_status(running.qmp, timeout_s=20) for _ in range(12)]
    assert await asyncio.gather(*asked) == ["running"] * 12


async def test_a_taken_socket_is_told_from_a_missing_one(running: MachinePaths) -> None:
    async with qmp.connect(running.qmp):
        # more than the two that fit into QEMU's queue: these meet EAGAIN instead of silence
        asked = [qmp.query_status(running.qmp, timeout_s=0.3) for _ in range(5)]
        ends = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(end) for end in ends] == [DeadlineError] * 5
    assert await qmp.query_status(running.qmp, timeout_s=5) == "running"


async def test_events_in_order_until_qemu_is_gone(running: MachinePaths) -> None:
    async with qmp.connect(running.qmp) as monitor:
        with monitor.listening("STOP", "RESUME", "POWERDOWN", "SHUTDOWN") as events:
            for command in ("stop", "cont", "system_powerdown", "quit"):
                await monitor.execute(command)
            seen = [event async for event in events]
    assert [event.name for event in seen] == ["STOP", "RESUME", "POWERDOWN", "SHUTDOWN"]
    assert seen[-1].data == {"guest": False, "reason": "host-qmp-quit"}


async def test_listening_ends_when_qemu_is_killed(running: MachinePaths) -> None:
    from pommel import locks

    pid = locks.holder(running.pidfile)
    assert pid is not None
    async with qmp.connect(running.qmp) as monitor:
        with monitor.listening("SHUTDOWN") as events:
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(patient(20)):
                assert [event async for event in events] == []


async def test_quit_is_no_failure(running: MachinePaths) -> None:
    async with qmp.connect(running.qmp) as monitor:
        assert await monitor.execute("quit") == {}


async def test_the_watchers_socket_is_independent(running: MachinePaths) -> None:
    async with qmp.connect(running.qmp_watch) as watcher:
        assert await qmp.query_status(running.qmp, timeout_s=5) == "running"
        assert await watcher.status() == "running"


def test_run_from_synchronous_code(running: MachinePaths) -> None:
    assert qmp.run(qmp.within(running.qmp, 5, qmp.Qmp.status)) == "running"


async def test_somebody_elses_machine(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(asyncio, "open_unix_connection", refuse)  # root is refused nothing
    with pytest.raises(NotPermitted, match="another user"):
        await qmp.query_status(paths.qmp, timeout_s=1)


def test_our_errors_only() -> None:
    async def all_of_them() -> None:
        await qmp.query_status(Path("/dev/null"), timeout_s=1)

    with pytest.raises(PommelError):
        qmp.run(all_of_them())
