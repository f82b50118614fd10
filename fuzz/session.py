"""The reversed socket (`session`): frames after an agent was let in, the challenge before that, both ends of each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from fuzz.engine import Fuzzer, expect, expect_words, mixed, pieces
from pommel.errors import NotPermitted, ProtocolError
from pommel.session import framing
from pommel.session.challenge import ANSWER_SIZE, MAGIC, SIZE, AgentSide, DaemonSide, binding_of, refusal
from pommel.session.framing import FrameDecoder, FrameKind, SessionFrame

_MOST = 4096
_FRAMES = (
    framing.encode(FrameKind.MESSAGE, b"\0\3\0\x0c" + bytes(8)),
    framing.encode(FrameKind.MESSAGE, b""),
    framing.encode(FrameKind.TEXT, "trouble ü".encode()),
    framing.encode(FrameKind.TEXT, b""),
    framing.encode_close(1008, "has not read"),
    framing.encode_taken(1 << 40),
    framing.encode_taken(0),
    b"\1\0\0\x10\0" + bytes(4096),
    b"\1\0\0\x10\1",
)


def outcome(parts: Iterable[bytes]) -> tuple[list[SessionFrame], str | None]:
    """Read frames to the end, with the words of the refusal, if it was one."""
    decoder, frames = FrameDecoder(max_payload=_MOST), list[SessionFrame]()
    try:
        for part in parts:
            frames += decoder.receive(part)
    except ProtocolError as failure:
        expect_words(failure)
        try:
            decoder.receive(b"\1\0\0\0\0")
        except ProtocolError as again:
            expect(again.message == failure.message, "another refusal the second time")
        else:
            raise AssertionError("what was refused once is read on") from None
        return frames, failure.message
    return frames, None


def check_frames(data: bytes) -> None:
    """In any pieces the same frames, that are written as they came; or one refusal that stays."""
    frames, refused = outcome([data])
    cut, refused_cut = outcome(pieces(data))
    # What came before a refusal within one piece is not told of.
    expect(refused == refused_cut and (frames == cut or refused is not None), "in pieces it is something else")
    expect(data.startswith(b"".join(framing.encode(*frame) for frame in cut)), "frames that did not come")
    for kind, payload in cut:
        try:
            if kind is FrameKind.CLOSE:
                code, _ = framing.decode_close(payload)
                expect(0 <= code <= 0xFFFF, "a code that there is not")
            elif kind is FrameKind.TAKEN:
                expect(framing.decode_taken(payload) == int.from_bytes(payload), "another count than it says")
        except ProtocolError as failure:
            expect_words(failure)


_TOKEN, _DAEMON, _AGENT, _BINDING = b"t" * SIZE, b"d" * SIZE, b"a" * SIZE, binding_of(42)


def _true_talk() -> tuple[bytes, bytes]:
    """What a daemon says and what an agent answers when both know the token."""
    daemon, agent = DaemonSide(_TOKEN, _DAEMON, _BINDING), AgentSide(_TOKEN, _AGENT, _BINDING)
    hello = MAGIC + daemon.greeting
    answer = agent.receive(hello)
    return hello + daemon.accept(answer), answer


_SAID, _ANSWERED = _true_talk()


def _agent_hears(parts: Iterable[bytes]) -> tuple[bytes, bool, str | None]:
    agent, out = AgentSide(_TOKEN, _AGENT, _BINDING), b""
    try:
        for part in parts:
            while part and not agent.done:
                size = min(len(part), max(1, agent.wants))
                out += agent.receive(part[:size])
                part = part[size:]
    except (NotPermitted, ProtocolError) as failure:
        expect_words(failure)
        expect(not agent.done, "a daemon that was refused counts as ours")
        with contextlib.suppress(NotPermitted, ProtocolError):
            agent.receive(_SAID)
        expect(not agent.done, "a daemon that was refused counts as ours later")
        return out, agent.done, failure.message
    return out, agent.done, None


def check_agent_side(data: bytes) -> None:
    """An agent believes nobody but who knows the token, says at most its own 64 bytes, and a refusal stays."""
    whole = _agent_hears([data])
    expect(_agent_hears(pieces(data)) == whole, "in pieces it is something else")
    out, done, _ = whole
    expect(not done or data.startswith(_SAID), "a daemon without the token is believed")
    expect(len(out) in (0, ANSWER_SIZE), "half an answer")


def check_daemon_side(data: bytes) -> None:
    """A daemon takes the one right answer, and no other."""
    try:
        DaemonSide(_TOKEN, _DAEMON, _BINDING).accept(data)
    except NotPermitted as failure:
        expect_words(failure)
        expect(data != _ANSWERED, "the right answer is refused")
        return
    expect(data == _ANSWERED, "another answer is taken")


FUZZERS = [
    Fuzzer(
        "session-frames",
        "in any pieces the same frames, written as they came, or one ProtocolError that stays",
        mixed(_FRAMES, joined=5),
        check_frames,
        room_bytes=2 << 20,
    ),
    Fuzzer(
        "challenge-agent",
        "no daemon without the token is believed; a refusal stays",
        mixed(
            [_SAID, MAGIC + refusal("no"), MAGIC + b"C" + bytes(SIZE) + refusal("x" * 255)],
            tokens=(MAGIC, b"C", b"A", b"R"),
        ),
        check_agent_side,
    ),
    Fuzzer("challenge-daemon", "the one right answer is taken, and no other", mixed([_ANSWERED]), check_daemon_side),
]
