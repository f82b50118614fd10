"""Both ends prove that they know the session's token, without sending it. Band: core, no I/O.

    daemon   MAGIC  "C" nonce(32)
    agent    nonce(32) mac(32)          mac = HMAC-SHA256(token, "agent" both nonces, binding)
    daemon   "A" mac(32)                mac = HMAC-SHA256(token, "daemon" both nonces, binding)
    or, in place of any "C" or "A":  "R" length(1) reason

`binding` is a value that both ends know and do not send: the agent's pid. So a process that forwards bytes between an
honest agent and the daemon is not accepted as the agent. A refusal proves nothing; its reason is only for a log.
Nonces are arguments, and nothing here uses a socket.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Generator

from pommel.errors import NotPermitted, PommelError, ProtocolError

MAGIC = b"POMMEL-SESSION 1\n"
SIZE = 32  # bytes of a token, a nonce and a mac
ANSWER_SIZE = 2 * SIZE
MAX_REASON = 255


def binding_of(pid: int) -> bytes:
    """Make the binding of an agent's pid."""
    return struct.pack(">Q", pid)


def refusal(reason: str) -> bytes:
    """A refusal in place of a challenge or an acceptance; `reason` is cut to 255 bytes."""
    text = reason.encode()[:MAX_REASON].decode(errors="ignore").encode()
    return b"R" + bytes((len(text),)) + text


class DaemonSide:
    """The daemon's end of one challenge."""

    def __init__(self, token: bytes, nonce: bytes, binding: bytes) -> None:
        self._token, self._nonce, self._binding = _sized(token), _sized(nonce), binding
        self.greeting = b"C" + nonce

    def accept(self, answer: bytes) -> bytes:
        """Check the agent's answer of 64 bytes and return the proof for the agent.

        Raises:
            NotPermitted: it does not know the token, or its pid is another one.
        """
        agent_nonce, mac = answer[:SIZE], answer[SIZE:]
        right = _mac(self._token, b"agent", self._nonce, agent_nonce, self._binding)
        if len(answer) != ANSWER_SIZE or not hmac.compare_digest(mac, right):
            raise NotPermitted("it does not know the session's secret")
        return b"A" + _mac(self._token, b"daemon", self._nonce, agent_nonce, self._binding)


class AgentSide:
    """The agent's end of one challenge: give it received bytes, send what it returns, until `done`.

    It never asks for a byte beyond its part: receive at most `wants` bytes at a time.
    """

    def __init__(self, token: bytes, nonce: bytes, binding: bytes) -> None:
        self._token, self._nonce, self._binding = _sized(token), _sized(nonce), binding
        self.done = False
        self._out, self._buffer = b"", b""
        self._refusal: PommelError | None = None
        self._talk = self._conversation()
        self._part = next(self._talk)

    @property
    def wants(self) -> int:
        """The number of bytes that may be received next; 0 when done."""
        return self._part - len(self._buffer)

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the daemon and return the bytes to send.

        Raises:
            NotPermitted: the daemon refuses us; the message carries its reason.
            ProtocolError: it is not our daemon, or does not know the token.
        """
        if self._refusal is not None:
            raise self._refusal  # the exchange is over; else the end of the generator would count as success
        self._buffer += data
        while not self.done and len(self._buffer) >= self._part:
            taken, self._buffer = self._buffer[: self._part], self._buffer[self._part :]
            self._advance(taken)
        out, self._out = self._out, b""
        return out

    def _advance(self, taken: bytes) -> None:
        try:
            self._part = self._talk.send(taken)
        except StopIteration:
            self._part, self.done = 0, True
        except PommelError as refusal:
            self._refusal = refusal
            raise

    def _conversation(self) -> Generator[int, bytes, None]:
        if (yield len(MAGIC)) != MAGIC:
            raise ProtocolError("the program on the socket is not a Pommel daemon of this version")
        yield from self._kind(b"C")
        daemon_nonce = yield SIZE
        self._out = self._nonce + _mac(self._token, b"agent", daemon_nonce, self._nonce, self._binding)
        yield from self._kind(b"A")
        right = _mac(self._token, b"daemon", daemon_nonce, self._nonce, self._binding)
        if not hmac.compare_digest((yield SIZE), right):
            raise ProtocolError("the program on the socket does not know the session's secret")

    def _kind(self, wanted: bytes) -> Generator[int, bytes, None]:
        kind = yield 1
        if kind == b"R":
            (length,) = yield 1
            reason = (yield length) if length else b""
            raise NotPermitted(f"the daemon refuses this agent: {reason.decode(errors='replace')}")
        if kind != wanted:
            raise ProtocolError(f"the daemon said {kind!r} instead of {wanted!r}")


def _mac(token: bytes, who: bytes, daemon_nonce: bytes, agent_nonce: bytes, binding: bytes) -> bytes:
    return hmac.new(token, MAGIC + who.ljust(8, b"\0") + daemon_nonce + agent_nonce + binding, hashlib.sha256).digest()


def _sized(secret: bytes) -> bytes:
    if len(secret) != SIZE:
        raise ProtocolError(f"a token or nonce has {SIZE} bytes, this one {len(secret)}")
    return secret
