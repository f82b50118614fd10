"""How the daemon admits an agent: collect facts, judge them, challenge, check the same facts again. Band: shell.

`peer` judges; the facts come from the system (`Senses`). This module also sends the daemon's part of `challenge`.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from pommel.errors import NotPermitted
from pommel.session import peer_linux
from pommel.session.challenge import ANSWER_SIZE, MAGIC, SIZE, DaemonSide, binding_of, refusal
from pommel.session.peer import Expected, Peer, PeerVerdict, describe, judge, judge_answer
from pommel.session.waiting import readable

_SAY_NO_S = 1.0


@dataclass(frozen=True, slots=True)
class Senses:
    """The facts that a system gives about a connection.

    `collect` takes the connection and the result of `now` at its accept; `receive` returns bytes and their sender.
    """

    prepare: Callable[[socket.socket], None]
    now: Callable[[], int | None]
    collect: Callable[[socket.socket, int | None], Peer]
    receive: Callable[[socket.socket, int], tuple[bytes, int | None]]


LINUX = Senses(peer_linux.prepare, peer_linux.now, peer_linux.collect, peer_linux.receive_with_sender)


def macos(requirement: str) -> Senses:
    """The facts of macOS, with the code checked against a pinned requirement.

    Raises:
        MissingProgram: pyobjc is not installed.
        UsageError: it is not a code requirement.
    """
    from pommel.session.peer_macos import CodeCheck

    return Senses(lambda _: None, lambda: None, CodeCheck(requirement).collect, lambda c, size: (c.recv(size), None))


def peer_uid(connection: socket.socket) -> int:
    """The uid of the process that listens at the other end of a socket that this process connected to."""
    if sys.platform == "darwin":
        from pommel.session.peer_macos import peer_uid as ask

        return ask(connection)
    return peer_linux.peer_uid(connection)


class AgentRefused(NotPermitted):
    """A peer was not admitted. `facts` is a line for the log."""

    def __init__(self, reason: str, facts: str) -> None:
        super().__init__(reason)
        self.facts = facts


async def admit(connection: socket.socket, token: bytes, expected: Callable[[], Expected], senses: Senses) -> Peer:
    """Determine who has connected, and admit it or not; `expected` is called again each time.

    The connection is non-blocking, and neither closed here nor given a deadline.

    Raises:
        Refused: it is not the expected agent; it has got the reason.
        OSError: it has disconnected.
    """
    senses.prepare(connection)
    seen = senses.now()
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, MAGIC)
    before = await asyncio.to_thread(senses.collect, connection, seen)
    await _check(connection, judge(before, expected()), before)
    side = DaemonSide(token, secrets.token_bytes(SIZE), binding_of(before.pid))
    await loop.sock_sendall(connection, side.greeting)
    answer, sender = await _answer(connection, before, senses)
    after = await asyncio.to_thread(senses.collect, connection, seen)
    await _check(connection, judge_answer(before, after, expected(), sender), after)
    try:
        acceptance = side.accept(answer)
    except NotPermitted as no:
        await _check(connection, PeerVerdict(False, no.message), after)
        raise
    await loop.sock_sendall(connection, acceptance)
    return after


async def _answer(connection: socket.socket, peer: Peer, senses: Senses) -> tuple[bytes, int | None]:
    """The answer, and its sender: of several senders, one that is not the peer."""
    answer, writers = b"", set[int | None]()
    while len(answer) < ANSWER_SIZE:
        await readable(connection)
        data, sender = senses.receive(connection, ANSWER_SIZE - len(answer))
        if not data:
            raise ConnectionResetError("it left during the challenge")
        answer += data
        writers.add(sender)
    return answer, next((one for one in writers if one != peer.pid), peer.pid)


async def _check(connection: socket.socket, verdict: PeerVerdict, peer: Peer) -> None:
    if verdict.accepted:
        return
    try:
        async with asyncio.timeout(_SAY_NO_S):
            await asyncio.get_running_loop().sock_sendall(connection, refusal(verdict.reason))
    except (OSError, TimeoutError):
        pass  # the refusal need not arrive
    raise AgentRefused(verdict.reason, describe(peer))
