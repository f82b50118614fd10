"""What a peer says over a connection that others made: viewers behind a relay, agents and daemons, a browser's clip.

Each is the very coroutine that serves the peer, given a stream of bytes in memory: no socket, no process. None of them
waits for anything but its peer, who has said everything when it begins.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from functools import cache
from typing import Any, TypeVar, cast

from aiohttp import MultipartReader, StreamReader, WSMessage, WSMsgType
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict

from fuzz.codec import outcome, seeds
from fuzz.engine import Fuzzer, expect, expect_words, mixed, pieces
from fuzz.mesh import JSON_TOKENS
from pommel.console.clipboard import Clip
from pommel.console.clipboard_api import clip_of
from pommel.errors import ProtocolError, UsageError, WireError
from pommel.mesh import control
from pommel.mesh.network import OpenWebSocket
from pommel.mesh.relay import ViewerRelay
from pommel.mesh.rights import is_within_limits
from pommel.session import framing
from pommel.session.framing import FrameKind
from pommel.session.seat import Flow, Seat
from pommel.session.stream import SessionStream
from pommel.wire.messages import Abilities, Direction, Shown

_T = TypeVar("_T")
_SENT = 5000  # bytes that an agent has sent before it hears how many were taken


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _ran(work: Coroutine[Any, Any, _T]) -> _T:
    return _loop().run_until_complete(work)


class _Reader:
    """A connection whose peer has said all this, as asyncio.StreamReader reads it."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)

    async def read(self, _: int) -> bytes:
        return next(self._parts, b"")


class _Writer:
    """The other way of it: keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        """Wait for nothing."""


# --- a daemon to an agent's stream ---


def _frames_of(data: bytes) -> tuple[list[framing.SessionFrame], bool]:
    """What `data` holds up to the first thing that is no frame, and whether there is such a thing."""
    decoder, found = framing.FrameDecoder(), list[framing.SessionFrame]()
    try:
        for part in pieces(data):
            found += decoder.receive(part)
    except ProtocolError:
        return found, True
    return found, False


async def _heard(parts: Iterable[bytes]) -> tuple[list[bytes], str | None, int]:
    writer = _Writer()
    stream = SessionStream(cast(Any, _Reader(parts)), cast(Any, writer))
    await stream.send(bytes(_SENT))
    heard: list[bytes] = []
    refused = None
    try:
        async for message in stream.messages():
            heard.append(message)
    except ProtocolError as failure:
        expect_words(failure)
        refused = failure.message
    return heard, refused, stream.unsent_bytes()


def check_stream(data: bytes) -> None:
    """In any pieces the messages that came, or one ProtocolError; nothing that was not sent counts as taken."""
    heard, refused, unsent = _ran(_heard(pieces(data)))
    frames, broken = _frames_of(data)
    taken = 0
    wanted: list[bytes] = []
    for kind, payload in frames:
        if kind is FrameKind.MESSAGE:
            wanted.append(payload)
        elif kind is FrameKind.TAKEN and len(payload) == 8:
            taken = min(max(taken, int.from_bytes(payload)), _SENT)
        else:
            broken = True
            break
    expect(heard == wanted, "a message was lost or made up")
    expect((refused is not None) == broken, "nonsense was taken, or sense refused")
    expect(unsent == _SENT - taken, f"{unsent} bytes count as unsent")


# --- an agent to a viewer's seat, and the viewer to the agent ---


class _Viewer:
    """A viewer that says these messages, and keeps what it is sent."""

    def __init__(self, says: Iterable[bytes] = ()) -> None:
        self._says = says
        self.sent: list[bytes | str] = []

    async def send(self, data: bytes) -> None:
        self.sent.append(data)

    async def send_text(self, text: str) -> None:
        text.encode()
        self.sent.append(text)

    def unsent_bytes(self) -> int:
        return 0

    async def messages(self) -> AsyncIterator[bytes]:
        for one in self._says:
            yield one

    async def close(self, code: int, reason: str) -> None:
        """Leave."""


async def _shown(data: bytes) -> tuple[list[bytes | str], tuple[int, str] | None, bool]:
    viewer = _Viewer()
    seat = Seat(viewer)
    try:
        ended = await seat.pump(cast(Any, _Reader(pieces(data))), Flow(viewer, cast(Any, _Writer())))
    except ProtocolError as failure:
        expect_words(failure)
        return viewer.sent, None, True
    return viewer.sent, ended, False


def check_seat(data: bytes) -> None:
    """A viewer gets an agent's messages and texts, in order, up to its goodbye or the first nonsense."""
    sent, ended, refused = _ran(_shown(data))
    wanted: list[bytes | str] = []
    frames, broken = _frames_of(data)
    goodbye = None
    for kind, payload in frames:
        if kind is FrameKind.CLOSE:
            broken = len(payload) < 2
            goodbye = None if broken else framing.decode_close(payload)
            break
        if kind is FrameKind.MESSAGE:
            wanted.append(payload)
        elif kind is FrameKind.TEXT:
            wanted.append(payload.decode(errors="replace"))
    expect(sent == wanted, "a message was lost or made up")
    expect(ended == goodbye and refused == broken, f"it ended with {ended}, and the agent said {goodbye}")


def check_to_agent(data: bytes) -> None:
    """An agent hears what the viewer says as it was said, but for counts of pictures that are not the agent's."""
    said = list(_lines(data))
    seat, writer = Seat(_Viewer(said)), _Writer()
    seat.serve(cast(Any, writer))
    _ran(seat.read())
    heard, broken = _frames_of(bytes(writer.written))
    expect(not broken and all(kind is FrameKind.MESSAGE for kind, _ in heard), "an agent hears no messages")
    wanted = [
        one
        for one in said
        if one and not (len(one) == 8 and one[:4] == b"\0\xc9\0\x08" and not 0 < int.from_bytes(one[4:]) < 1 << 31)
    ]
    expect([payload for _, payload in heard] == wanted, "an agent hears something else")


def _lines(data: bytes) -> Iterator[bytes]:
    """Messages by their length in two bytes, the last one to the end."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2])
        yield data[at + 2 : at + 2 + size]
        at += 2 + size


def _said(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">H", len(one)) + one for one in messages)


# --- a viewer at MeshCentral's relay ---


class _WebSocket:
    """A WebSocket whose peer has said all this, as aiohttp tells it."""

    def __init__(self, said: Iterable[tuple[bool, bytes]]) -> None:
        self._said = iter(said)
        self.sent: list[str] = []

    async def receive(self) -> WSMessage:
        is_text, data = next(self._said, (None, b""))
        if is_text is None:
            return WSMessage(WSMsgType.CLOSED, None, None)
        if is_text:
            return WSMessage(WSMsgType.TEXT, data.decode(errors="replace"), None)
        return WSMessage(WSMsgType.BINARY, data, None)

    async def send_str(self, text: str) -> None:
        text.encode()
        self.sent.append(text)


def _script(data: bytes) -> list[tuple[bool, bytes]]:
    return [(one[0] & 1 == 1, one[1:]) for one in _lines(data) if one]


async def _relayed(said: list[tuple[bool, bytes]], *, limited: bool) -> tuple[list[bytes], bool, _WebSocket]:
    socket = _WebSocket(said)
    relay = ViewerRelay(OpenWebSocket(cast(Any, socket), b"", cast(Any, None)))
    relay.limited = limited
    heard: list[bytes] = []
    try:
        async for message in relay.messages():
            heard.append(message)
    except WireError:
        return heard, True, socket
    return heard, False, socket


async def _chosen(said: list[tuple[bool, bytes]]) -> tuple[int | None, int]:
    relay = ViewerRelay(OpenWebSocket(cast(Any, _WebSocket(said)), b"", cast(Any, None)))
    try:
        await relay.joined()
        return await relay.chosen(), relay.consent
    except ConnectionError:
        return None, relay.consent


_Relayed = tuple[list[bytes], bool, _WebSocket]


async def _all(said: list[tuple[bool, bytes]]) -> tuple[_Relayed, _Relayed, tuple[int | None, int]]:
    return await _relayed(said, limited=False), await _relayed(said, limited=True), await _chosen(said)


_OURS = (Abilities, Shown)  # what the relay says for the viewer


def check_relay(data: bytes) -> None:
    """A viewer's bytes pass as they are, and one with tied hands passes what it may; a text gets its own echo, or a pong."""
    said = _script(data)
    gone = next((number for number, (is_text, one) in enumerate(said) if is_text and _is_bye(one)), len(said))
    (through, refused, socket), (tied, tied_refused, _), (protocol, consent) = _ran(_all(said))
    said = said[:gone]
    binary = [one for is_text, one in said if not is_text]
    texts = {one.decode(errors="replace") for is_text, one in said if is_text} | {control.PING, _PONG}
    expect(not refused and set(socket.sent) <= texts, "an answer of other words")
    passed = [one for one in through if one in binary or not _is_ours(one)]
    expect(passed == binary or _without_ours(through) == _without_ours(binary), "something was lost or made up")
    commands = [command for one in tied for command in outcome(Direction.TO_ENDPOINT, [one])[0]]
    expect(all(is_within_limits(command) for command in commands), "tied hands have done something")
    wanted, nonsense = outcome(Direction.TO_ENDPOINT, binary)
    allowed = [command for command in wanted if is_within_limits(command)]
    expect(_others(commands) == _others(allowed) or tied_refused, "what they may do was lost or made up")
    expect(nonsense is not None or not tied_refused, "sense is refused")
    expect((protocol is None or 0 <= protocol <= 9999) and consent >= 0, "a protocol or wish that there is not")


_PONG = json.dumps({"ctrlChannel": control.CHANNEL, "type": "pong"})


def _is_bye(text: bytes) -> bool:
    return isinstance(control.parse_control(text.decode(errors="replace")), control.Bye)


def _is_ours(message: bytes) -> bool:
    commands, refusal = outcome(Direction.TO_ENDPOINT, [message])
    return refusal is None and bool(commands) and all(isinstance(one, _OURS) for one in commands)


def _without_ours(messages: Iterable[bytes]) -> list[bytes]:
    return [one for one in messages if not _is_ours(one)]


def _others(commands: Iterable[object]) -> list[object]:
    return [one for one in commands if not isinstance(one, _OURS)]


# --- a browser's clip ---

_PNG = b"\x89PNG\r\n\x1a\n" + bytes(9)


class _Upload:
    """A request with a body, as far as the clipboard looks at one."""

    content_type = "multipart/form-data"

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    async def multipart(self) -> MultipartReader:
        loop = asyncio.get_running_loop()
        content = StreamReader(BaseProtocol(loop), 1 << 30, loop=loop)
        for part in self._parts:
            content.feed_data(part)
        content.feed_eof()
        return MultipartReader(CIMultiDict({"Content-Type": "multipart/form-data; boundary=b"}), content)


def _form(forms: dict[str, bytes]) -> bytes:
    parts = (
        b'--b\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: application/octet-stream\r\n\r\n%s\r\n'
        % (name.encode(), name.encode(), data)
        for name, data in forms.items()
    )
    return b"".join(parts) + b"--b--\r\n"


async def _uploaded(parts: Iterable[bytes]) -> Clip | None:
    try:
        return await clip_of(cast(Any, _Upload(parts)))
    except UsageError as refusal:
        expect_words(refusal)
        return None


async def _each_uploaded(*bodies: Iterable[bytes]) -> list[Clip | None]:
    return [await _uploaded(parts) for parts in bodies]


def check_upload(data: bytes) -> None:
    """A UsageError with words, or a clip of what came, the same in any pieces; what a browser writes is read."""
    text = data.decode(errors="replace")
    form = _form({"text": text.encode(), "png": _PNG + data}) if b"--b" not in data else b""
    clip, cut, again = _ran(_each_uploaded([data], pieces(data), [form]))
    expect(cut == clip, "in pieces it is something else")
    if clip is not None:
        expect(bool(clip.forms) and all(one in data for _, one in clip.forms), "a form that did not come")
    expect(
        not form or again == Clip(text, None, _PNG + data) or not data, "what a browser writes comes as something else"
    )


_FORMS = (
    _form({"text": b"hello \xc3\xbc", "html": b"<b>x</b>", "png": _PNG}),
    _form({"text": b""}),
    b"--b\r\nContent-Disposition: form-data; name=text\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--b--\r\n",
    b"--b\r\nContent-Disposition: form-data; name=html\r\nContent-Length: 3\r\n\r\nabc\r\n--b--\r\n",
    b"--b\r\nContent-Disposition: form-data; name=png\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n",
)
_FORM_TOKENS = (
    b"\r\n", b"--b", b"--b--", b"\n", b"\r\n\r\n", b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", b"Content-Length: 9\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-Transfer-Encoding: x\r\n", b"; charset=utf-7", b"name*=utf-8''text",
    b'name="text"', b"filename*0=a", b"=?", b"a" * 9000, b"Content-Length: -1\r\n", b"Content-Length: " + b"9" * 5000 + b"\r\n", b"\0",
    b"_charset_", b"Content-Type: multipart/form-data\r\n", b'"', b";",
)  # fmt: skip

# --- what stands where ---

_INPUTS = seeds()[Direction.TO_ENDPOINT]
_SHOWN = b"\0\xc9\0\x08\0\0\0\x05"
_AGENTS = (
    framing.encode(FrameKind.MESSAGE, b"\0\3\0\x0c" + bytes(8)),
    framing.encode(FrameKind.MESSAGE, b"\0\x1b\0\x08\0\0\0\x0a\0\3" + bytes(8)),
    framing.encode(FrameKind.TEXT, "trouble ü".encode()),
    framing.encode_close(1008, "has not read"),
)
_DAEMONS = (
    framing.encode(FrameKind.MESSAGE, _SHOWN),
    framing.encode_taken(4000),
    framing.encode_taken(9),
    framing.encode(FrameKind.MESSAGE, b""),
)
_TEXTS = (
    b"c", b"cr", b"2", b'{"ctrlChannel":"102938","type":"rtt","time":1}', b'{"ctrlChannel":102938,"type":"ping"}', _PONG.encode(),
    b'{"ctrlChannel":"102938","type":"close"}', b'{"type":"options","consent":8}',
)  # fmt: skip
_RELAYED = (
    *(_said(b"\1" + one) for one in _TEXTS),
    *(_said(b"\0" + one) for one in _INPUTS),
    _said(b"\1" + _PONG.encode()) * 3,
)


def _fuzzer(name: str, law: str, make: Any, check: Callable[[bytes], None]) -> Fuzzer:
    return Fuzzer(name, law, make, check, room_bytes=4 << 20, per_byte=600)


FUZZERS = [
    _fuzzer("session-stream", "the messages that came or one ProtocolError; no more is taken than was sent", mixed(_DAEMONS, joined=5), check_stream),
    _fuzzer("session-seat", "a viewer gets what an agent says, up to its goodbye or nonsense", mixed(_AGENTS, joined=5), check_seat),
    _fuzzer("session-viewer", "an agent hears what the viewer says", mixed([_said(one) for one in (*_INPUTS, _SHOWN)], joined=5), check_to_agent),
    _fuzzer("mesh-relay", "bytes pass as they are, tied hands do what they may; echoes and pongs", mixed(_RELAYED, tokens=JSON_TOKENS, joined=6), check_relay),
    _fuzzer("console-clip", "a UsageError with words, or a clip of what came", mixed(_FORMS, tokens=_FORM_TOKENS), check_upload),
]  # fmt: skip
