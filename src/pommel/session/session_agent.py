"""The session's agent: it connects to the daemon, and serves viewers until the daemon disconnects. Band: shell.

The session's launcher starts it when the signal file exists. It checks the daemon before it shows anything to it. A
callable decides what a viewer sees; when it is cancelled, it releases all keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import NotPermitted, PommelError, ProtocolError
from pommel.session.admission import peer_uid
from pommel.session.challenge import SIZE, AgentSide, binding_of
from pommel.session.framing import FrameKind, encode
from pommel.session.peer import ROOT, EntryFacts, judge_daemon
from pommel.session.places import Places
from pommel.session.stream import SessionStream
from pommel.session.waiting import readable
from pommel.tasks import start_task, together

_HANDSHAKE_S = 5.0
_VIEWERS_AT_ONCE = 16
_REFUSALS = 3

Serve = Callable[[SessionStream], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The options of an agent.

    `owners` are the uids that a daemon may have. It tries to connect at most `tries` times, `pause_s` apart, and ends
    `leave_s` after the daemon closed the connection; `on_hangup` is called then. `preflight` returns the reason why the
    screen cannot be shown, in words for viewers, or "".
    """

    owners: frozenset[int] = frozenset({ROOT})
    tries: int = 30
    pause_s: float = 1.0
    leave_s: float = 2.0
    preflight: Callable[[], Awaitable[str]] | None = None
    on_hangup: Callable[[], None] = lambda: None
    log: Callable[[str], None] = lambda _: None


class SessionAgent:
    """One run of the agent."""

    def __init__(self, places: Places, serve: Serve, options: AgentOptions | None = None) -> None:
        self._places = places
        self._serve = serve
        self._options = options or AgentOptions()
        self._viewers: set[asyncio.Future[None]] = set()
        self._failure: BaseException | None = None  # an error in a viewer's task after which the agent must end

    async def run(self) -> str:
        """Connect, serve viewers, and return the reason for the end.

        Raises:
            NotPermitted: the daemon's places are not safe, or it refuses this agent repeatedly.
            ProtocolError: the listener is not our daemon.
            Exception: what `serve` or the preflight raised, unless it is an error of one viewer (`PommelError`).
        """
        connection = await self._connected()
        if connection is None:
            return "the daemon does not answer" if self._signalled() else "no viewers"
        with connection:
            try:
                async with together() as tasks:
                    telling = tasks.create_task(self._send_ready(connection))
                    await self._take_viewers(connection)
                    self._options.on_hangup()
                    telling.cancel()
            finally:
                await self._leave()
        if self._failure is not None:
            raise self._failure
        return "the daemon has closed the connection"

    # --- arriving ---

    async def _connected(self) -> socket.socket | None:
        """Try to connect until admitted; None if the signal was removed, or no daemon admits this agent.

        While another session is shown there is no socket for us, and we wait: an agent that ends is started again at
        once.
        """
        refusals = failures = 0
        while failures < self._options.tries and self._signalled():
            try:
                return await self._knock()
            except FileNotFoundError:
                pass
            except (ConnectionError, PermissionError, TimeoutError):
                failures += 1  # the socket is just being opened or closed
            except DaemonRefusal as no:
                refusals += 1
                self._options.log(no.message)
                if refusals >= _REFUSALS:
                    raise
            await asyncio.sleep(self._options.pause_s)
        return None

    def _signalled(self) -> bool:
        return os.path.lexists(self._places.signal)

    async def _knock(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            async with asyncio.timeout(_HANDSHAKE_S):
                await self._greet(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _greet(self, connection: socket.socket) -> None:
        path, uid, loop = self._places.socket(os.geteuid()), os.geteuid(), asyncio.get_running_loop()
        directory, place = _place(Path(self._places.sockets)), _place(Path(path))
        token = _token(Path(self._places.token(uid)), self._options.owners | {uid})
        await loop.sock_connect(connection, str(path))
        verdict = judge_daemon(directory, place, peer_uid(connection), self._options.owners, uid)
        if not verdict.accepted:
            raise NotPermitted(f"the daemon cannot be trusted: {verdict.reason}")
        side = AgentSide(token, secrets.token_bytes(SIZE), binding_of(os.getpid()))
        while not side.done:
            data = await loop.sock_recv(connection, side.wants)
            if not data:
                raise ConnectionResetError("the daemon closed the connection")
            try:
                answer = side.receive(data)
            except NotPermitted as no:
                raise DaemonRefusal(no.message) from None
            # Do not send an empty answer: if the daemon has refused and closed, this would fail before the reason is
            # read.
            if answer:
                await loop.sock_sendall(connection, answer)

    # --- serving ---

    async def _send_ready(self, connection: socket.socket) -> None:
        """Tell the daemon that the agent is ready, or what is wrong. It does not end: it would be started again."""
        trouble = await self._options.preflight() if self._options.preflight else ""
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(connection, encode(FrameKind.TEXT, trouble.encode()[:1024]))

    async def _take_viewers(self, connection: socket.socket) -> None:
        while True:
            await readable(connection)
            try:
                data, descriptors, _, _ = socket.recv_fds(connection, 1, _VIEWERS_AT_ONCE)
            except BlockingIOError:
                continue
            except ConnectionError:
                return
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)  # recv_fds does not set this
                self._begin(socket.socket(fileno=descriptor), connection)
            if not data:
                return

    def _begin(self, connection: socket.socket, control: socket.socket) -> None:
        viewer = start_task(self._serve_one(connection))
        self._viewers.add(viewer)
        viewer.add_done_callback(lambda done: self._done(done, control))

    def _done(self, viewer: asyncio.Future[None], control: socket.socket) -> None:
        """Forget a viewer that was served; an error of our own ends the agent."""
        self._viewers.discard(viewer)
        if not viewer.cancelled() and (failure := viewer.exception()) is not None:
            self._failure = self._failure or failure
            with contextlib.suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)

    async def _serve_one(self, connection: socket.socket) -> None:
        stream = await SessionStream.over(connection)
        try:
            await self._serve(stream)
        except ConnectionError:
            pass  # a viewer may disconnect at any time
        except PommelError as failure:
            self._options.log(f"a viewer: {failure.message}")
            await stream.close(1011, failure.message)
        finally:
            stream.drop()

    async def _leave(self) -> None:
        viewers = set(self._viewers)
        for viewer in viewers:
            viewer.cancel()
        if viewers:
            _, left = await asyncio.wait(viewers, timeout=self._options.leave_s)
            if left:
                self._options.log(f"{len(left)} viewers do not disconnect")


class DaemonRefusal(NotPermitted):
    """The daemon does not admit this agent."""


def _place(path: Path) -> EntryFacts:
    found = path.lstat()
    return EntryFacts(found.st_mode, found.st_uid)


def _token(path: Path, owners: frozenset[int]) -> bytes:
    """Read the session's secret.

    Raises:
        FileNotFoundError: it does not exist: there is no socket for us.
        NotPermitted: the file is not the daemon's.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as odd:
        raise NotPermitted(f"{path} is not the daemon's: {odd.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o077:
            raise NotPermitted(f"{path} is not the daemon's: other users can use it")
        token = file.read(SIZE + 1)
    if len(token) != SIZE:
        raise ProtocolError(f"{path} is not a secret of {SIZE} bytes")
    return token
