"""The session agent: it shows the session's screen to the daemon's viewers. Band: app.

The session's launcher starts it when the daemon (`kvm_daemon`) has a viewer. It ends two seconds after the last viewer
has left. If DISPLAY is not set, it finds the session's display itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pommel.app.session.kvm_daemon import places_of
from pommel.config import environment
from pommel.errors import DeadlineError, MissingProgram, NotPermitted, PommelError, StateError
from pommel.session.peer import ROOT
from pommel.session.places import DEFAULT_ID
from pommel.session.session_agent import AgentOptions, SessionAgent
from pommel.session.stream import SessionStream
from pommel.tasks import background, first_of, start_task, stop_tasks

if TYPE_CHECKING:
    from pommel.app.session.kvm import SessionConnection
    from pommel.screen.endpoint import Endpoint

_VIEWERS_LEAVE_S = 1.0
_HARD_END_S = 1.8  # then the process ends in any case, so that the promise of two seconds is kept
_DISPLAY_S = 8.0  # a session that has just begun may not have its X server yet
_TRY_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The agent's service, the uid of the daemon, and a folder in place of /run (for tests)."""

    service_id: str = DEFAULT_ID
    daemon_uid: int = ROOT
    run: Path | None = None


async def serve(settings: AgentSettings, log: Callable[[str], None]) -> str:
    """Serve this session in this process until the daemon disconnects or the session ends; return the reason.

    Raises:
        NotPermitted: the daemon or its folders cannot be trusted, or the daemon refuses this agent.
        ProtocolError: the process that listens there is not Pommel's daemon.
    """
    screen = SessionScreen(log)
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
    """End the process after `_HARD_END_S`, even if threads of a display or tasks do not end."""
    timer = threading.Timer(_HARD_END_S, os._exit, (0,))
    timer.daemon = True
    timer.start()


class SessionScreen:
    """This session's screen, after it has been found."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._connection: SessionConnection | None = None
        self._endpoint: Endpoint | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()

    async def open(self) -> str:
        """Connect to the screen; return "", or the reason of a failure in words for viewers."""
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
        """Serve one viewer. The daemon may send one a moment before `open` has finished, so that is waited for."""
        await self._opened.wait()
        if self._endpoint is not None:
            await self._endpoint.serve(stream)

    async def until_over(self) -> str:
        """Wait until the session or its capture has ended; return the reason."""
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
        """Disconnect from the screen."""
        if self._pumping is not None:
            await stop_tasks(self._pumping)
        if self._connection is not None:
            await self._connection.close()


async def _connection(log: Callable[[str], None]) -> SessionConnection:
    if sys.platform == "darwin":
        from pommel.screen.sources.macos import connect_macos

        return await connect_macos()
    return await find_screen(environment(), log)


async def find_screen(
    env: Mapping[str, str], log: Callable[[str], None], *, patience_s: float = _DISPLAY_S
) -> SessionConnection:
    """Connect to the X server or the Wayland compositor of this session; wait `patience_s` for one that is starting.

    Raises:
        StateError: there is none, or its screen cannot be read.
        NotPermitted: it refuses the connection.
    """
    deadline = time.monotonic() + patience_s
    while True:
        failure: PommelError = StateError(
            "this session has no X server and no Wayland compositor to show", hint="log in to a desktop session"
        )
        for connect in await asyncio.to_thread(_ways, env, log):
            try:
                return await connect()
            except (StateError, NotPermitted, DeadlineError) as no:
                failure = no
        if time.monotonic() >= deadline:
            raise failure
        await asyncio.sleep(_TRY_AGAIN_S)


def _ways(env: Mapping[str, str], log: Callable[[str], None]) -> list[Callable[[], Awaitable[SessionConnection]]]:
    """List what to try: the Wayland display that `env` names, then X servers, then other Wayland displays.

    An X server comes after the named display, because it may be a program's own, such as Xvfb.
    """
    from pommel.session.display import wayland_sockets

    compositors = [partial(_connect_wayland, socket, log) for socket in wayland_sockets(env)]
    named = 1 if env.get("WAYLAND_DISPLAY") else 0
    servers = [partial(_connect_x11, told, log) for told in _likely(env)]
    return [*compositors[:named], *servers, *compositors[named:]]


def _likely(env: Mapping[str, str]) -> list[dict[str, str]]:
    from pommel.session.display import displays
    from pommel.session.sessions import active_session

    session = ""
    with contextlib.suppress(MissingProgram):
        active = active_session()
        session = active.name if active is not None and active.uid == os.geteuid() else ""
    return list(displays(env, session))


async def _connect_x11(told: Mapping[str, str], log: Callable[[str], None]) -> SessionConnection:
    from pommel.screen.sources.x11 import connect_x11

    # python-xlib reads XAUTHORITY only from the environment. No other code runs in the agent's process.
    os.environ.update(told)
    connection = await connect_x11(told["DISPLAY"])
    log(f"shows X11 display {told['DISPLAY']}")
    return connection


async def _connect_wayland(socket: str, log: Callable[[str], None]) -> SessionConnection:
    from pommel.screen.sources.wlroots import connect_wlroots

    connection = await connect_wlroots(socket)
    log(f"shows Wayland display {socket} (wlr-screencopy)")
    return connection
