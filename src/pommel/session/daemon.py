"""The daemon: it listens, raises the signal, and brings viewers and the active session's agent together. Band: shell.

While there is no viewer, there is no socket, no signal and no agent. When the first viewer connects, the active
session's door opens and its launcher is asked for an agent; when the last viewer leaves, all this is removed. When
another session becomes active, the first agent's stream ends, and the viewers stay and see the other session's screen.
A viewer that cannot be served within the deadline is told why.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pommel import locks
from pommel.errors import PommelError, ProtocolError, StateError
from pommel.session.admission import Senses
from pommel.session.attached import Attached
from pommel.session.directory import SafeDirectory, safe_directory
from pommel.session.door import AgentDoor, Doorkeeper
from pommel.session.peer import Expected
from pommel.session.places import Places
from pommel.session.seat import Seat
from pommel.session.sessions import Session
from pommel.session.signal_file import SignalFile
from pommel.tasks import first_of, start_task, stop_tasks
from pommel.wire.viewer import ViewerStream

SIGNALS_MODE = 0o755  # a user's launcher must be able to list it
SOCKETS_MODE = 0o711  # a user's agent opens files in it by name
TRY_AGAIN_LATER, GOING_AWAY, FAILED = 1013, 1001, 1011  # WebSocket close codes (RFC 6455, 7.4.1; IANA registry)


@dataclass(frozen=True, slots=True)
class Timing:
    """The time limits. `arrive_s`: for an agent, after the signal; `prepare_s`: until it can show
    its screen. `nobody_s`: without any session. After `arrive_s` and `prepare_s` a viewer is told what it waits for; it
    is disconnected after `patience_s` in all. On a slow or busy host a start of the agent takes longer than `arrive_s`,
    and if the last viewer were disconnected at once, the signal would be removed too and the agent would end unused.

    `poll_s` is the interval of queries for the active session while there is a viewer, `leave_s` the time for an agent
    that stopped showing its screen to end by itself.
    """

    arrive_s: float = 12.0
    prepare_s: float = 15.0
    nobody_s: float = 3.0
    patience_s: float = 120.0
    poll_s: float = 1.0
    leave_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The daemon's queries of its system. `active` and `installed` may block; `log` gets lines."""

    active: Callable[[], Session | None]
    expected: Callable[[Session], Expected]
    senses: Senses
    installed: Callable[[], bool]
    log: Callable[[str], None]


class SessionDaemon:
    """One service's daemon. `run` it once, and hand viewers to `view` meanwhile."""

    def __init__(self, places: Places, surroundings: Surroundings, timing: Timing | None = None) -> None:
        self._places = places
        self._around = surroundings
        self._timing = timing or Timing()
        self._seats: set[Seat] = set()
        self._agent: Attached | None = None
        self._session: Session | None = None
        self._looked = False  # has the active session been queried since there is a viewer?
        self._installed = True
        self._broken = self._refusal = ""
        self._stopping = False
        self.serving = asyncio.Event()  # set once it holds its lock and directories
        self._pulse = asyncio.Event()
        self._seated = asyncio.Event()

    @property
    def viewers(self) -> int:
        """The number of viewers now."""
        return len(self._seats)

    @property
    def session(self) -> Session | None:
        """The session that is shown now, if there is a viewer."""
        return self._session

    async def run(self) -> None:
        """Serve until cancelled; leave no signal, no socket and no secret behind.

        Raises:
            NotPermitted: the directories are not safe.
            BusyError: another daemon of this service runs.
        """
        with (
            safe_directory(self._places.signals, mode=SIGNALS_MODE) as signals,
            safe_directory(self._places.sockets, mode=SOCKETS_MODE) as sockets,
            locks.hold(Path(self._places.lock), busy=f"another daemon of {self._places.service_id} runs"),
        ):
            signal = SignalFile(signals, self._places.signal.name, self._around.log)
            _clear(sockets, signal)
            self.serving.set()
            try:
                while True:
                    await self._seated.wait()
                    self._seated.clear()
                    await self._attend(signal, sockets)
            finally:
                self._stopping = True
                self._changed()
                _clear(sockets, signal)

    async def view(self, stream: ViewerStream) -> None:
        """Serve one viewer until it leaves, or until it has been told why it cannot be served."""
        seat = Seat(stream)
        # The one that ends first ends the other, and neither end is an error.
        with self._seated_viewer(seat), contextlib.suppress(ConnectionError):
            for failure in (await first_of(seat.read(), self._show(seat))).ended:
                if isinstance(failure, Exception):
                    raise failure

    # --- sessions ---

    async def _attend(self, signal: SignalFile, sockets: SafeDirectory) -> None:
        """While there is a viewer, keep only the door of the active session open."""
        door: asyncio.Task[None] | None = None
        try:
            while self._seats:
                if door is not None and door.done():
                    door.result()
                if await self._follow():
                    await _ended(door, signal)
                    door = start_task(self._keep(self._session, signal, sockets))
                self._seated.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._timing.poll_s):
                        await self._seated.wait()
        finally:
            await _ended(door, signal)
            self._session, self._looked, self._broken = None, False, ""

    async def _follow(self) -> bool:
        """Find the active session, and return whether it has changed."""
        broken, session = "", None
        try:
            session = await asyncio.to_thread(self._around.active)
            self._installed = await asyncio.to_thread(self._around.installed)
        except (PommelError, OSError) as failure:
            broken = str(failure)
        first, self._looked = not self._looked, True
        if session == self._session and not first:
            return False
        self._broken = broken
        self._around.log(f"active session: {session or 'none'}")
        self._session, self._refusal = session, ""
        self._changed()
        return True

    async def _keep(self, session: Session | None, signal: SignalFile, sockets: SafeDirectory) -> None:
        if session is None:
            return
        keeper = Doorkeeper(self._welcome, self._changed, self._refuse)
        try:
            expected = await asyncio.to_thread(self._around.expected, session)
            door = AgentDoor(self._places, sockets, session, expected, self._around.senses, keeper)
            with door.listening() as let_in:
                signal.up()
                await let_in()
        except (PommelError, OSError) as failure:
            self._broken = f"the session's socket could not be opened: {failure}"
            self._around.log(self._broken)
        finally:
            self._agent = None
            self._changed()

    def _welcome(self, agent: Attached) -> None:
        self._agent, self._refusal = agent, ""
        self._around.log(f"agent: pid {agent.peer.pid}, uid {agent.peer.uid}")
        self._changed()

    def _refuse(self, reason: str, facts: str) -> None:
        self._refusal = reason
        self._around.log(f"agent refused: {reason}" + (f" ({facts})" if facts else ""))

    # --- viewers ---

    @contextlib.contextmanager
    def _seated_viewer(self, seat: Seat) -> Iterator[None]:
        self._seats.add(seat)
        self._seated.set()
        try:
            yield
        finally:
            self._seats.discard(seat)
            self._seated.set()

    async def _show(self, seat: Seat) -> None:
        while True:
            try:
                agent = await self._agent_ready(seat)
            except StateError as absent:
                await seat.show_line(absent.message)
                code = GOING_AWAY if self._stopping else TRY_AGAIN_LATER
                await seat.stream.close(code, absent.message)
                return
            goodbye = await self._show_agent(seat, agent)
            if goodbye is not None:
                await seat.stream.close(*goodbye)
                return
            if not self._stopping:
                await seat.show_line("switching session…")

    async def _show_agent(self, seat: Seat, agent: Attached) -> tuple[int, str] | None:
        """Show one agent's screen; return how to disconnect the viewer, or None if another agent may follow."""
        try:
            goodbye = await seat.show(agent.open_viewer())
        except (ProtocolError, StateError) as failure:
            self._around.log(f"agent: pid {agent.peer.pid}: {failure.message}")
            agent.close()
            return None
        if goodbye is not None and goodbye[0] != GOING_AWAY:
            return goodbye
        # It may be about to end; the launcher starts the next one.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timing.leave_s):
                await agent.gone.wait()
        if goodbye is None and not agent.gone.is_set():
            return FAILED, "the session's agent no longer serves this viewer"
        agent.close()
        return None

    async def _agent_ready(self, seat: Seat) -> Attached:
        """Wait for an agent that serves, and tell the viewer why that takes long.

        Raises:
            StateError: none comes in time; the message is the reason.
            ConnectionError: the viewer has disconnected.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        told = ""
        while True:
            agent = self._agent
            if agent is not None and agent.ready and not agent.gone.is_set():
                return agent
            waited_s = loop.time() - began_s
            if why := self._absence(waited_s):
                raise StateError(why)
            if (late := self._lateness(waited_s)) and waited_s >= self._timing.patience_s:
                raise StateError(f"{late} within {self._timing.patience_s:g} s")
            if late not in ("", told):
                await seat.show_line(f"{late} within {waited_s:.0f} s; still waiting")
                told = late
            await self._next_change(self._timing.poll_s)

    def _absence(self, waited_s: float) -> str:
        """The certain reason why there is no agent, or ""."""
        if self._stopping:
            return "the daemon is stopping"
        if self._broken:
            return self._broken
        if self._agent is not None and self._agent.trouble:
            return self._agent.trouble
        if self._looked and self._session is None and waited_s >= self._timing.nobody_s:
            return "no user is logged in"
        if self._looked and not self._installed and self._agent is None:
            return "the agent is not installed"
        if self._refusal and not self._agent_came() and waited_s >= self._timing.arrive_s:
            return f"agent refused: {self._refusal}"
        return ""

    def _agent_came(self) -> bool:
        return self._agent is not None and not self._agent.gone.is_set()

    def _lateness(self, waited_s: float) -> str:
        """The step that takes longer than it should, or ""."""
        came = self._agent_came()
        if waited_s < self._timing.arrive_s + (self._timing.prepare_s if came else 0.0):
            return ""
        if came:
            return "the session's agent has connected, but did not report that it can show the screen"
        return "the session's agent did not connect"

    async def _next_change(self, timeout_s: float) -> None:
        pulse = self._pulse
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await pulse.wait()

    def _changed(self) -> None:
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()


async def _ended(door: asyncio.Task[None] | None, signal: SignalFile) -> None:
    """Remove the signal, then close the door. In this order, because an agent that ends must not be started again."""
    signal.down()
    if door is not None:
        (failure,) = await stop_tasks(door)
        if isinstance(failure, Exception):
            raise failure


def _clear(sockets: SafeDirectory, signal: SignalFile) -> None:
    """Remove what a killed daemon left: its signal, and its sessions' sockets and secrets."""
    signal.down()
    for name in sockets.names():
        if name.removesuffix(".new").lstrip(".").split(".")[-1] in ("sock", "token"):
            # A directory in a socket's place; it is moved aside when the socket is made.
            with contextlib.suppress(StateError):
                sockets.remove(name)
