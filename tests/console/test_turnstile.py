"""Connections of strangers: few, short, and never in the way of those who were let in. Real sockets throughout."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from websockets.asyncio.client import connect

from isolation import patient
from pommel.console import turnstile
from pommel.console.quiet import PER_MINUTE, Quiet
from pommel.console.server import ConsoleServer
from pommel.console.turnstile import ConnectionLimits
from pommel.wire import messages as m
from pommel.wire.codec import encode
from waits import until

from .conftest import serving
from .desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCREEN = encode(m.Screen(640, 400))
HALF = b"GET / HTTP/1.1\r\nX: "


@contextlib.asynccontextmanager
async def narrow(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, strangers: int = 8, admitted: int = 4
) -> AsyncIterator[ConsoleServer]:
    monkeypatch.setattr(ConnectionLimits, "of_this_process", lambda: ConnectionLimits(strangers, admitted, asking=4))
    console = serving(desk)
    await console.start()
    try:
        yield console
    finally:
        await console.stop()


@contextlib.contextmanager
def held(port: int, count: int, say: bytes = HALF) -> Iterator[list[socket.socket]]:
    peers = []
    try:
        for _ in range(count):
            peer = socket.create_connection(("127.0.0.1", port))
            peers.append(peer)
            with contextlib.suppress(ConnectionError):
                peer.sendall(say)
        yield peers
    finally:
        for peer in peers:
            peer.close()


def is_open(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return peer.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


async def ask(port: int, request: bytes) -> bytes:
    """The whole answer, or what came of it before the other side went."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(patient(10)):
            with contextlib.suppress(ConnectionError):
                return await reader.read()
        return b""
    finally:
        writer.close()


async def test_strangers_are_few_and_the_oldest_goes_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async with narrow(desk, monkeypatch) as console, connect(console.ws) as viewer:
        assert await viewer.recv() == SCREEN
        with held(console.port, 100) as peers:
            await until(lambda: sum(map(is_open, peers)) <= 8, what="more strangers than there may be")
            await asyncio.sleep(0.2)
            assert [is_open(peer) for peer in peers] == [False] * 92 + [True] * 8
            async with connect(console.ws) as late:
                assert await late.recv() == SCREEN, "who knows the token comes in past all strangers"
                await viewer.send(encode(m.Key(0x41, True)))
                await desk.until(lambda: m.Key(0x41, True) in desk.seen)


async def test_who_asks_at_once_is_answered_in_any_crowd(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds connect in the turns of the loop in which a newcomer's request is read."""
    async with narrow(desk, monkeypatch, strangers=1) as console:
        status = f"GET /api/status?token={console.token} HTTP/1.1\r\nHost: 127.0.0.1:{console.port}\r\n\r\n".encode()
        for _ in range(20):
            # The event loop is ours: none of these is accepted before all have come.
            with held(console.port, 1, status) as (newcomer,), held(console.port, 60):
                await until(lambda newcomer=newcomer: _readable(newcomer), what="no answer")
                assert newcomer.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("empty", [b"\r\n\r\n", b"\n\n\r\n\r\n", b"\r\n\r\nGET /"], ids=repr)
async def test_who_seems_to_have_asked_and_has_not_keeps_nobody_waiting(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, empty: bytes
) -> None:
    async with narrow(desk, monkeypatch) as console:
        with held(console.port, 300, empty):
            began = time.monotonic()
            async with connect(console.ws) as viewer:
                assert await viewer.recv() == SCREEN
            assert time.monotonic() - began < 5


async def test_who_was_let_in_stays_whatever_comes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "STRANGER_S", 0.5)
    async with narrow(desk, monkeypatch) as console, connect(console.ws) as viewer:
        await viewer.recv()
        for _ in range(3):
            with held(console.port, 60):
                await asyncio.sleep(0.5)
        await viewer.send('{"ctrlChannel":"102938","type":"ping"}')
        async with asyncio.timeout(patient(5)):
            while await viewer.recv() != '{"ctrlChannel": "102938", "type": "pong"}':
                pass


@pytest.mark.parametrize(
    ("say", "more"), [(b"", b""), (b"", b"\r\n"), (b"GET /", b"x"), (HALF, b"x"), (HALF, b"y\r\nX: ")], ids=repr
)
async def test_half_a_request_has_a_deadline_and_more_bytes_do_not_move_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, say: bytes, more: bytes
) -> None:
    monkeypatch.setattr(turnstile, "STRANGER_S", 1.0)
    async with narrow(desk, monkeypatch) as console:
        with held(console.port, 1, say) as (peer,):
            began = time.monotonic()
            while is_open(peer) and time.monotonic() < began + 10:
                with contextlib.suppress(ConnectionError):
                    peer.send(more)
                await asyncio.sleep(0.1)
            assert 0.9 <= time.monotonic() - began <= 4


async def test_so_has_half_a_request_after_a_whole_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "IDLE_S", 1.0)
    async with narrow(desk, monkeypatch) as console:
        status = f"HEAD /api/status?token={console.token} HTTP/1.1\r\nHost: 127.0.0.1:{console.port}\r\n\r\n".encode()
        with held(console.port, 1, status + HALF) as (peer,):
            await until(lambda: _readable(peer), what="no answer")
            assert b"200 OK" in peer.recv(4096)
            await until(lambda: not is_open(peer), what="it is still there", timeout_s=5)


async def test_a_body_that_was_refused_is_not_waited_for(console: ConsoleServer) -> None:
    head = b"PUT /api/clipboard HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 1000000\r\n\r\nx" % console.port
    began = time.monotonic()
    answer = await ask(console.port, head)
    assert answer.startswith(b"HTTP/1.1 403")
    assert time.monotonic() - began < 5


async def test_an_idle_connection_that_was_let_in_makes_way_for_a_viewer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with narrow(desk, monkeypatch, admitted=2) as console:
        status = f"GET /api/status?token={console.token} HTTP/1.1\r\nHost: 127.0.0.1:{console.port}\r\n\r\n".encode()
        with held(console.port, 2, status) as idle:
            await until(lambda: not any(peer.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b"" for peer in idle)
                        if all(_readable(peer) for peer in idle) else False, what="no answer")  # fmt: skip
            async with connect(console.ws) as one, connect(console.ws) as two:
                assert await one.recv() == await two.recv() == SCREEN
                answer = await ask(console.port, status)
                assert answer.startswith(b"HTTP/1.1 503"), "all places are taken by people who look on"
                assert b"has too many viewers" in answer


def _readable(peer: socket.socket) -> bool:
    try:
        return bool(peer.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)) or True
    except BlockingIOError:
        return False


async def test_out_of_descriptors_it_pauses_lets_strangers_go_and_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with narrow(desk, monkeypatch, strangers=64) as console, connect(console.ws) as viewer:
        await viewer.recv()
        peers = [socket.socket() for _ in range(40)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = {int(number) for number in os.listdir("/proc/self/fd")}
        free = [number for number in range(1000) if number not in used]
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[6], hard))
        try:
            for peer in peers:
                peer.connect(("127.0.0.1", console.port))
                peer.sendall(HALF)
            began, spent = time.monotonic(), time.process_time()
            await asyncio.sleep(2.5)
            busy = (time.process_time() - spent) / (time.monotonic() - began)
            await viewer.send('{"ctrlChannel":"102938","type":"ping"}')
            async with asyncio.timeout(patient(5)):
                while await viewer.recv() != '{"ctrlChannel": "102938", "type": "pong"}':
                    pass
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for peer in peers:
                peer.close()
        assert busy < 0.5, "it does not spin"
        said = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert 1 <= len(said) <= PER_MINUTE
        assert {record.name for record in said} == {"pommel.console.turnstile"}
        assert all(record.exc_info is None for record in said)
        async with connect(console.ws) as late:
            assert await late.recv() == SCREEN


async def test_limits_leave_the_process_descriptors_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft in (64, 256, 1024, 20_000, resource.RLIM_INFINITY):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        limits = ConnectionLimits.of_this_process()
        assert limits.strangers >= 4
        assert limits.admitted >= 4
        if soft != resource.RLIM_INFINITY:
            assert limits.strangers + limits.asking + 2 * limits.admitted <= soft * 3 // 4


# --- nonsense ---

NONSENSE = [
    b"GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xc3\xa9.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: @\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: OURS\r\nHost: OURS\r\n\r\n",
    b"GET /?token=%ff%fe HTTP/1.1\r\nHost: OURS\r\n\r\n",
    b"GET /?token=%ed%a0%80 HTTP/1.1\r\nHost: OURS\r\n\r\n",
    b"GET /?token=\xff HTTP/1.1\r\nHost: OURS\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: OURS\r\nCookie: pommel_PORT=\xff\xfe\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: OURS\r\nCookie: \xed\xa0\x80;;==\xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: OURS\r\nOrigin: \xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: OURS\r\nExpect: \xff\r\n\r\n",
    b"GET / HTTP/1.0\r\nExpect: nothing\r\n\r\n",
    b"GET /\xff\xfe/%ff HTTP/1.1\r\nHost: OURS\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: OURS\r\n\r\n",
    b"GET //[ HTTP/1.1\r\nHost: OURS\r\n\r\n",
    b"GET http://a:99999/ HTTP/1.1\r\nHost: OURS\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: OURS\r\n\r\n",
    b"CONNECT a:b HTTP/1.1\r\nHost: OURS\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost: OURS\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/1.1\r\nHost: OURS\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: OURS\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000,
    b"GET /kvm HTTP/1.1\r\nHost: OURS\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: \xff\r\n\r\n",
]


async def judge(console: ConsoleServer, request: bytes) -> None:
    ours = b"127.0.0.1:%d" % console.port
    request = request.replace(b"OURS", ours).replace(b"PORT", b"%d" % console.port)
    reader, writer = await asyncio.open_connection("127.0.0.1", console.port)
    answer = b""
    try:
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write(request)
            writer.write_eof()
            async with asyncio.timeout(0.5):
                answer = await reader.read()
    finally:
        writer.close()
    assert not answer or answer.split(b" ", 2)[1][:1] == b"4", (request[:200], answer[:200])


@pytest.mark.parametrize("request_", NONSENSE, ids=lambda text: repr(text[:60]))
async def test_nonsense_is_refused_without_a_word_in_the_log(
    console: ConsoleServer, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    await judge(console, request_)
    assert caplog.records == []


@pytest.mark.parametrize("host", [b"a\xff", b"\xc3\xa9", b"[", b"@", b"a b", b"OURS\r\nHost: OURS"], ids=repr)
async def test_what_is_no_host_is_a_bad_request(console: ConsoleServer, host: bytes) -> None:
    ours = b"127.0.0.1:%d" % console.port
    request = b"GET /?token=%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (console.token.encode(), host.replace(b"OURS", ours))
    assert (await ask(console.port, request)).split()[1] == b"400"


async def test_law_no_bytes_of_a_stranger_are_an_error_of_ours(
    console: ConsoleServer, caplog: pytest.LogCaptureFixture
) -> None:
    dice = random.Random(10)
    pieces = [b"\xff", b"\r\n", b"\0", b"%", b"[", b"]", b":", b"\xed\xa0\x80", b";", b"=", b"//", b"@", b"Host: a\r\n"]
    for _ in range(400):
        request = bytearray(dice.choice(NONSENSE[:-1]))
        for _ in range(dice.randint(1, 5)):
            at = dice.randrange(len(request) + 1)
            request[at : at + dice.randint(0, 3)] = dice.choice([*pieces, dice.randbytes(2)])
        await judge(console, bytes(request) + b"\r\n\r\n")
    assert [record.getMessage() for record in caplog.records] == []


# --- the log ---


def record(created: float, line: int = 1) -> logging.LogRecord:
    made = logging.LogRecord("a", logging.WARNING, "/a.py", line, "%s failed", ("it",), None)
    made.created = created
    return made


async def test_a_place_that_says_much_says_how_much_was_left_out() -> None:
    quiet = Quiet()
    assert [quiet.filter(record(second)) for second in range(50)] == [True] * PER_MINUTE + [False] * (50 - PER_MINUTE)
    assert quiet.filter(record(30.0, line=2)), "each place for itself"
    later = record(61.0)
    assert quiet.filter(later)
    assert later.getMessage() == f"it failed (and {50 - PER_MINUTE} more like it before)"
