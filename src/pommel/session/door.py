"""The listening socket of one session, and the admission of agents. Band: shell.

Socket and token belong to the session's user, but their directory does not: the user can use them and cannot replace
them. The name appears only when the socket already listens. Every connection is judged (`admission`); of the admitted
agents, the newest serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from pommel.errors import PommelError
from pommel.session.admission import AgentRefused, Senses, admit
from pommel.session.attached import Attached
from pommel.session.challenge import SIZE
from pommel.session.directory import SafeDirectory
from pommel.session.peer import Expected
from pommel.session.places import Places
from pommel.session.sessions import Session

_BACKLOG = 16
_AT_ONCE = 8  # further connections are closed while this many are checked
_CHALLENGE_S = 3.0  # a silent connection keeps one of the places `_AT_ONCE`
_ACCEPT_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Callables that are told of events at a door: an admitted agent, a new message of it, a refusal.

    `on_refusal` gets the reason, and a line of facts for the log.
    """

    on_agent: Callable[[Attached], None]
    on_change: Callable[[], None]
    on_refusal: Callable[[str, str], None]


class AgentDoor:
    """The socket and token for one session's agent."""

    def __init__(
        self,
        places: Places,
        sockets: SafeDirectory,
        session: Session,
        expected: Expected,
        senses: Senses,
        keeper: Doorkeeper,
    ) -> None:
        self._sockets = sockets
        self._uid = session.uid
        self._socket, self._token = places.socket(session.uid).name, places.token(session.uid).name
        self._expected = expected
        self._senses = senses
        self._keeper = keeper
        self._serving: Attached | None = None
        self._busy = 0

    @contextlib.contextmanager
    def listening(self) -> Iterator[Callable[[], Awaitable[None]]]:
        """Listen during the block, and yield the coroutine that admits agents until it is cancelled.

        Raises:
            OSError: the directory cannot be written to.
        """
        token = secrets.token_bytes(SIZE)
        try:
            self._sockets.write(self._token, token, mode=0o400, uid=self._uid)
            with self._sockets.listening(self._socket, backlog=_BACKLOG, uid=self._uid) as listener:
                yield lambda: self._let_in(listener, token)
        finally:
            self._sockets.remove(self._token)

    async def _let_in(self, listener: socket.socket, token: bytes) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError as failure:  # no free descriptors: ended connections release some
                    self._keeper.on_refusal(f"no connection can be accepted: {failure.strerror}", "")
                    await asyncio.sleep(_ACCEPT_PAUSE_S)
                    continue
                if self._busy >= _AT_ONCE:
                    connection.close()
                    self._keeper.on_refusal("too many connections at once", "")
                else:
                    self._busy += 1
                    tasks.create_task(self._visit(connection, token))

    async def _visit(self, connection: socket.socket, token: bytes) -> None:
        with connection:
            agent = await self._looked_at(connection, token)
            if agent is not None:
                await self._serve(agent)

    async def _looked_at(self, connection: socket.socket, token: bytes) -> Attached | None:
        try:
            connection.setblocking(False)
            async with asyncio.timeout(_CHALLENGE_S):
                return Attached(connection, await admit(connection, token, self._wanted, self._senses))
        except AgentRefused as no:
            self._keeper.on_refusal(no.message, no.facts)
        except TimeoutError:
            self._keeper.on_refusal(f"it did not answer within {_CHALLENGE_S:g} s", "")
        except (OSError, PommelError) as failure:
            self._keeper.on_refusal(f"it could not be checked: {failure}", "")
        finally:
            self._busy -= 1
        return None

    async def _serve(self, agent: Attached) -> None:
        before, self._serving = self._serving, agent
        if before is not None:
            before.close()
        self._keeper.on_agent(agent)
        try:
            await agent.run(self._keeper.on_change)
        except (OSError, PommelError) as failure:
            self._keeper.on_refusal(f"its connection is lost: {failure}", "")
        finally:
            if self._serving is agent:
                self._serving = None

    def _wanted(self) -> Expected:
        serving = self._serving
        return replace(self._expected, serving=serving.peer if serving and not serving.gone.is_set() else None)
