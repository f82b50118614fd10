"""The daemon: it listens, raises the signal, and brings viewers and the active session's agent together. Band: shell.

Nothing happens while nobody looks: no socket, no signal, no agent. With the first viewer the active session's door
opens and its launcher is asked for an agent; with the last viewer's leaving all that goes. When another session
becomes active, the first one's agent sees the end of its stream, and the viewers, who stay, the other one's screen.
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
from pommel.session.door import Door, Doorkeeper
from pommel.session.peer import Expected
from pommel.session.places import Places
from pommel.session.seat import Seat
from pommel.session.sessions import Session
from pommel.session.signal_file import SignalFile
from pommel.tasks import first_of, start_task, stop_tasks
from pommel.wire.viewer import ViewerStream

SIGNALS_MODE = 0o755  # a user's launcher has to see into it
SOCKETS_MODE = 0o711  # a user's agent goes through it by name
TRY_AGAIN_LATER, GOING_AWAY, FAILED = 1013, 1001, 1011  # WebSocket close codes (RFC 6455, 7.4.1; IANA registry)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take. `arrive_s`: an agent, from the signal on; `prepare_s`: what it does before it can show
    its screen. `nobody_s`: a session, once there is none.

    `poll_s` is how often the active session is asked for while somebody looks, `leave_s` how long an agent that stopped
    showing its screen has to go by itself.
    """

    arrive_s: float = 12.0
    prepare_s: float = 15.0
    nobody_s: float = 3.0
    poll_s: float = 1.0
    leave_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the daemon asks about the system it runs on. `active` and `installed` may block; `log` gets lines."""

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
        self._looked = False  # has the active session been asked for since somebody looks?
        self._installed = True
        self._broken = self._refusal = ""
        self._stopping = False
        self.serving = asyncio.Event()  # set once it holds its places
        self._pulse = asyncio.Event()
        self._seated = asyncio.Event()

    @property
    def viewers(self) -> int:
        """How many look on now."""
        return len(self._seats)

    @property
    def session(self) -> Session | None:
        """The session that is shown now, if anybody looks."""
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
        # Whichever ends first ends the other, and neither's end is a failure.
        with self._taken(seat), contextlib.suppress(ConnectionError):
            for failure in (await first_of(seat.read(), self._show(seat))).ended:
                if isinstance(failure, Exception):
                    raise failure

    # --- sessions ---

    async def _attend(self, signal: SignalFile, sockets: SafeDirectory) -> None:
        """While anybody looks, keep the door of the active session open, and no other."""
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
        """Ask for the active session and tell whether it is another than before."""
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
            door = Door(self._places, sockets, session, expected, self._around.senses, keeper)
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
    def _taken(self, seat: Seat) -> Iterator[None]:
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
                agent = await self._agent_ready()
            except StateError as absent:
                await seat.say(absent.message)
                code = GOING_AWAY if self._stopping else TRY_AGAIN_LATER
                await seat.stream.close(code, absent.message)
                return
            goodbye = await self._show_agent(seat, agent)
            if goodbye is not None:
                await seat.stream.close(*goodbye)
                return
            if not self._stopping:
                await seat.say("switching session…")

    async def _show_agent(self, seat: Seat, agent: Attached) -> tuple[int, str] | None:
        """Show one agent's screen; return how to part from the viewer, or None if another agent may follow."""
        try:
            goodbye = await seat.show(agent.open_viewer())
        except (ProtocolError, StateError) as failure:
            self._around.log(f"agent: pid {agent.peer.pid}: {failure.message}")
            agent.close()
            return None
        if goodbye is not None and goodbye[0] != GOING_AWAY:
            return goodbye
        # It may be on its way out; the launcher sees to the next.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timing.leave_s):
                await agent.gone.wait()
        if goodbye is None and not agent.gone.is_set():
            return FAILED, "the session's agent no longer serves this viewer"
        agent.close()
        return None

    async def _agent_ready(self) -> Attached:
        """Wait for an agent that serves.

        Raises:
            StateError: there is none in time; the message says why.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while True:
            agent = self._agent
            if agent is not None and agent.ready and not agent.gone.is_set():
                return agent
            waited_s = loop.time() - began_s
            if why := self._absence(waited_s):
                raise StateError(why)
            await self._next_change(self._timing.poll_s)

    def _absence(self, waited_s: float) -> str:
        """Why there is no agent, once it is certain or has taken too long; else nothing."""
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
        came = self._agent is not None and not self._agent.gone.is_set()
        if waited_s < self._timing.arrive_s + (self._timing.prepare_s if came else 0.0):
            return ""
        if self._refusal:
            return f"agent refused: {self._refusal}"
        if came:
            return "the session's agent has connected, but does not report that it can show the screen"
        return f"the session's agent did not connect within {self._timing.arrive_s:g} s"

    async def _next_change(self, timeout_s: float) -> None:
        pulse = self._pulse
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await pulse.wait()

    def _changed(self) -> None:
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()


async def _ended(door: asyncio.Task[None] | None, signal: SignalFile) -> None:
    """Take the signal away, then close the door: an agent that sees the end must not be started again."""
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
            with contextlib.suppress(StateError):  # a directory in a socket's place; moved aside when the time comes
                sockets.remove(name)
