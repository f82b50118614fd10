"""One session for all, of OpenSSH's own server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pommel.errors import DeadlineError, PommelError, StateError
from pommel.sftp.link import SftpLink
from pommel.sftp.session import SessionLost, SftpSession, served_by
from pommel.tasks import background
from waits import until

from .servers import SFTP_SERVER


class Connector:
    """Counts the sessions that it opens; `program` is the server."""

    def __init__(self) -> None:
        self.opened, self.pids, self.program = 0, [0], SFTP_SERVER

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[SftpSession]:
        self.opened += 1
        async with served_by([self.program]) as session:
            self.pids.append(session._child.pid)
            yield session


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_all_share_one_session_and_it_ends_when_unused() -> None:
    connect = Connector()
    link = SftpLink(connect, idle_s=0.2)
    async with background(link.run()):
        async with link.session() as one, link.session() as other:
            assert one is other
            await asyncio.gather(*(one.real_path(b".") for _ in range(20)))
        assert await link.ask(lambda session: session.real_path(b"/usr")) == b"/usr"
        assert connect.opened == 1
        await until(lambda: is_gone(connect.pids[-1]))
        assert await link.ask(lambda session: session.real_path(b"/usr")) == b"/usr"
        assert connect.opened == 2
    assert is_gone(connect.pids[-1])


async def test_a_server_that_dies_is_started_again() -> None:
    connect = Connector()
    link = SftpLink(connect)
    async with background(link.run()):
        await link.ask(lambda session: session.real_path(b"."))
        os.kill(connect.pids[-1], signal.SIGKILL)
        assert await link.ask(lambda session: session.real_path(b"/usr")) == b"/usr"
        with pytest.raises(SessionLost):
            async with link.session() as session:
                os.kill(connect.pids[-1], signal.SIGKILL)
                await session.real_path(b".")
        async with link.session() as again:
            assert again is not session and await again.real_path(b"/usr") == b"/usr"


async def test_why_there_is_none() -> None:
    connect = Connector()
    connect.program = "false"
    link = SftpLink(connect, explain=lambda failure: StateError(f"told: {failure.message}"))
    async with background(link.run()):
        for _ in range(2):
            with pytest.raises(StateError, match="told: the connection for files ended"):
                await link.ask(lambda session: session.real_path(b"."))
        connect.program = SFTP_SERVER
        assert await link.ask(lambda session: session.real_path(b"/usr")) == b"/usr"


async def test_one_that_does_not_answer() -> None:
    @contextlib.asynccontextmanager
    async def never() -> AsyncIterator[SftpSession]:
        await asyncio.Event().wait()
        raise PommelError("unreachable")
        yield  # type: ignore[unreachable]

    link = SftpLink(never, ready_s=0.05)
    async with background(link.run()):
        with pytest.raises(DeadlineError, match="no answer by SSH"):
            await link.ask(lambda session: session.real_path(b"."))
