"""The session's agent, with the session's screen. Band: app.

The session's launcher starts it when somebody looks on (`kvm_daemon`), and it is gone two seconds after the last one
has left. It looks for the session's display itself where nobody has told it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pommel.app.kvm_daemon import places_of
from pommel.config import environment
from pommel.errors import DeadlineError, MissingProgram, NotPermitted, PommelError, StateError
from pommel.session.agent import AgentOptions, SessionAgent
from pommel.session.peer import ROOT
from pommel.session.places import DEFAULT_ID
from pommel.session.stream import SessionStream
from pommel.tasks import background, first_of, start_task, stop_tasks

if TYPE_CHECKING:
    from pommel.app.kvm import Connection
    from pommel.screen.endpoint import Endpoint

_VIEWERS_LEAVE_S = 1.0
_HARD_END_S = 1.8  # what is left of the two seconds when nothing else has ended us
_DISPLAY_S = 8.0  # a session that has just begun may not have its display yet
_TRY_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Which service's agent it is; `daemon_uid` is who runs the daemon, `run` is in place of /run."""

    service_id: str = DEFAULT_ID
    daemon_uid: int = ROOT
    run: Path | None = None


async def serve(settings: AgentSettings, log: Callable[[str], None]) -> str:
    """Serve this session in this process until the daemon hangs up or the session ends; return why it is over.

    Raises:
        NotPermitted: the daemon or its places are not to be trusted, or it refuses this agent.
        ProtocolError: what listens there is no daemon of ours.
    """
    screen = Screen(log)
    options = AgentOptions(
        owners=frozenset({settings.daemon_uid}),
        leave_s=_VIEWERS_LEAVE_S,
        preflight=screen.open,
        on_hangup=_end_anyhow,
        log=log,
    )
    agent = SessionAgent(places_of(settings.service_id, settings.run), screen.serve, options)
    try:
        return str((await first_of(agent.run(), screen.until_over())).first.result())
    finally:
        await screen.close()


def _end_anyhow() -> None:
    """See to it that the process ends, whatever does not let go: a display's threads, or work that is not cancelled."""
    timer = threading.Timer(_HARD_END_S, os._exit, (0,))
    timer.daemon = True
    timer.start()


class Screen:
    """This session's screen, once it has been found."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._connection: Connection | None = None
        self._endpoint: Endpoint | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()

    async def open(self) -> str:
        """Connect to it; return why that cannot be, in words for viewers, or ""."""
        try:
            self._connection = await _connection(self._log)
        except PommelError as trouble:
            self._log(trouble.message)
            return trouble.message
        from pommel.screen.endpoint import Endpoint

        self._endpoint = Endpoint(self._connection.source, self._connection.sink)
        self._pumping = start_task(self._endpoint.run())
        self._opened.set()
        return ""

    async def serve(self, stream: SessionStream) -> None:
        """Serve one viewer. Viewers come only when all is well, which may be known to us a moment later."""
        await self._opened.wait()
        if self._endpoint is not None:
            await self._endpoint.serve(stream)

    async def until_over(self) -> str:
        """Wait until the session, or the showing of it, has ended; return why."""
        await self._opened.wait()
        if self._connection is None or self._pumping is None:
            return "there is no screen"
        async with background(self._connection.until_ended()) as (ended,):
            await asyncio.wait((self._pumping, ended), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                self._pumping.result()
                return "the screen has ended"
            return str(ended.result())

    async def close(self) -> None:
        """Let go of it."""
        if self._pumping is not None:
            await stop_tasks(self._pumping)
        if self._connection is not None:
            await self._connection.close()


async def _connection(log: Callable[[str], None]) -> Connection:
    if sys.platform == "darwin":
        from pommel.screen.sources.macos import connect_macos

        return await connect_macos()
    return await find_x11(environment(), log)


async def find_x11(env: Mapping[str, str], log: Callable[[str], None], *, patience_s: float = _DISPLAY_S) -> Connection:
    """Connect to the X server of this process's session; one that is only coming is waited for.

    Raises:
        StateError: there is none, or its screen cannot be read.
        NotPermitted: none lets us in.
    """
    deadline = time.monotonic() + patience_s
    while True:
        failure: PommelError = StateError(
            "this session has no X server to show",
            hint="Wayland sessions are not supported yet: log in to an X session",
        )
        for told in await asyncio.to_thread(_likely, env):
            try:
                return await _connect_x11(told, log)
            except (StateError, NotPermitted, DeadlineError) as no:
                failure = no
        if time.monotonic() >= deadline:
            raise failure
        await asyncio.sleep(_TRY_AGAIN_S)


def _likely(env: Mapping[str, str]) -> list[dict[str, str]]:
    from pommel.session.display import displays
    from pommel.session.sessions import active_session

    session = ""
    with contextlib.suppress(MissingProgram):
        active = active_session()
        session = active.name if active is not None and active.uid == os.geteuid() else ""
    return list(displays(env, session))


async def _connect_x11(told: Mapping[str, str], log: Callable[[str], None]) -> Connection:
    from pommel.screen.sources.x11 import connect_x11

    os.environ.update(told)  # this process is the agent's own, and XAUTHORITY is nobody's argument
    connection = await connect_x11(told["DISPLAY"])
    log(f"shows {told['DISPLAY']}")
    return connection
