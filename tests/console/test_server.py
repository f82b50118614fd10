"""The server over real sockets: who gets in, how viewers are served and parted from, ports, the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import websockets
from websockets.asyncio.client import connect

from isolation import patient
from pommel.console import server as server_module
from pommel.console.server import ConsoleServer
from pommel.console.stream import ENDED
from pommel.errors import BusyError, MachineError, StateError, UsageError
from pommel.wire import messages as m
from pommel.wire.codec import Decoder, encode
from pommel.wire.messages import Direction
from pommel.wire.viewer import ViewerStream

from .conftest import a_pass, serving
from .desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


def base(console: ConsoleServer) -> str:
    return f"http://127.0.0.1:{console.port}"


# --- who gets in ---


async def test_the_token_becomes_a_pass_and_the_address_clean(
    console: ConsoleServer, http: aiohttp.ClientSession
) -> None:
    async with http.get(console.url, allow_redirects=False) as answer:
        onward = answer.headers["Location"]
        assert "Set-Cookie" not in answer.headers
    assert answer.status == 303
    assert re.fullmatch(rf"at/[\w-]{{22}}/\?token={console.token}", onward)  # relative: a proxy may have a prefix
    async with http.get(f"{base(console)}/{onward}", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "./")
        cookie = answer.headers["Set-Cookie"]
    assert re.fullmatch(rf"pommel_{console.port}=[\w-]{{43}}", cookie.split(";")[0])
    assert console.token not in cookie
    # No path: a browser takes that of the address, which it alone knows whole (RFC 6265, 5.1.4).
    assert {part.strip() for part in cookie.split(";")[1:]} == {"HttpOnly", "SameSite=Strict", "Max-Age=86400"}
    home = f"/{onward.partition('?')[0]}"
    async with http.get(base(console) + home, headers={"Cookie": cookie.split(";")[0]}) as answer:
        assert answer.status == 200
        html = await answer.text()
    assert "<title>A &lt;Desk&gt;</title>" in html
    assert 'data-name="desk"' in html
    assert "{{" not in html
    assert console.token not in html


async def test_a_link_on_another_site_gets_pages_that_lead_on(
    console: ConsoleServer, http: aiohttp.ClientSession
) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    async with http.get(console.url, headers=headers, allow_redirects=False) as answer:
        assert answer.status == 200
        onward = re.search(r'0;url=(at/[^"]+)"', await answer.text())
    assert onward is not None
    async with http.get(f"{base(console)}/{onward[1]}", headers=headers, allow_redirects=False) as answer:
        assert answer.status == 200
        assert '0;url=./"' in await answer.text()
        assert f"pommel_{console.port}" in answer.headers["Set-Cookie"]


async def test_the_link_below_a_place_that_is_none_leads_to_one(
    console: ConsoleServer, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{base(console)}/at/x/?token={console.token}", allow_redirects=False) as answer:
        assert re.fullmatch(rf"\.\./\.\./at/[\w-]{{22}}/\?token={console.token}", answer.headers["Location"])
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-Proto": "http"}, {"X-Forwarded-Proto": "HTTPS"}])
async def test_behind_tls_the_cookie_is_for_tls_alone(
    console: ConsoleServer, http: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    place = f"{base(console)}/at/{'x' * 22}/?token={console.token}"
    async with http.get(place, headers=headers, allow_redirects=False) as answer:
        assert ("Secure" in answer.headers["Set-Cookie"]) is ("HTTPS" in headers.values())


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/status", "/kvm", "/nothing"])
@pytest.mark.parametrize("how", ["none", "wrong token", "wrong cookie", "empty token"])
async def test_without_the_token_there_is_nothing(
    console: ConsoleServer, http: aiohttp.ClientSession, path: str, how: str
) -> None:
    query = {"wrong token": "?token=" + console.token[:-1] + "!", "empty token": "?token="}.get(how, "")
    headers = {"Cookie": f"pommel_{console.port}=wrong"} if how == "wrong cookie" else {}
    async with http.get(base(console) + path + query, headers=headers) as answer:
        assert answer.status == 403
        assert "pommel console desk" in await answer.text()
        assert "Set-Cookie" not in answer.headers


async def test_a_wrong_token_is_not_helped_by_a_cookie(console: ConsoleServer, http: aiohttp.ClientSession) -> None:
    cookie = a_pass(console)
    async with http.get(base(console) + "/?token=wrong", headers=cookie) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("path", ["/", "/kvm", "/api/status", "/static/app.js"])
async def test_a_name_that_is_not_ours_is_misdirected(
    console: ConsoleServer, http: aiohttp.ClientSession, path: str
) -> None:
    headers = {"Host": f"evil.example:{console.port}"}
    async with http.get(f"{base(console)}{path}?token={console.token}", headers=headers) as answer:
        assert answer.status == 421
        assert f"http://127.0.0.1:{console.port}/" in await answer.text()
        assert "Set-Cookie" not in answer.headers


async def test_a_name_that_is_allowed_is_answered(desk: Desk, http: aiohttp.ClientSession) -> None:
    console = serving(desk, allowed_hosts=["mac.lan"])
    await console.start()
    async with http.get(console.url, headers={"Host": "mac.lan"}, allow_redirects=False) as answer:
        assert answer.status == 303
    await console.stop()


async def test_a_request_without_a_host_is_refused(console: ConsoleServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", console.port)
    writer.write(f"GET /?token={console.token} HTTP/1.0\r\n\r\n".encode())
    assert b"421" in await reader.readline()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
async def test_another_site_s_page_gets_no_socket(console: ConsoleServer, desk: Desk, origin: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(console.ws, origin=origin)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
    assert desk.came == 0


async def test_its_own_page_gets_a_socket_by_its_cookie(console: ConsoleServer, desk: Desk) -> None:
    url = console.ws.split("?")[0]
    headers = a_pass(console)
    async with connect(url, origin=base(console), additional_headers=headers) as viewer:  # type: ignore[arg-type]
        assert await viewer.recv() == encode(m.Screen(640, 400))
    with pytest.raises(websockets.InvalidStatus):
        await connect(url, origin=base(console))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/", "/static/app.css", "/api/status", "/static/nothing"])
async def test_headers_of_every_answer(console: ConsoleServer, http: aiohttp.ClientSession, path: str) -> None:
    cookie = a_pass(console)
    async with http.get(base(console) + path, headers=cookie) as answer:
        headers = answer.headers
        assert answer.status == (404 if path.endswith("nothing") else 200)
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert f"ws://127.0.0.1:{console.port}" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/static/index.html", "/static/%2e%2e/server.py", "/static/..%2fserver.py"])
async def test_only_the_page_s_own_files_are_served(
    console: ConsoleServer, http: aiohttp.ClientSession, path: str
) -> None:
    async with http.get(f"{base(console)}{path}?token={console.token}") as answer:
        assert answer.status == 404


async def test_status(console: ConsoleServer, desk: Desk, http: aiohttp.ClientSession) -> None:
    url = f"{base(console)}/api/status?token={console.token}"
    async with http.get(url) as answer:
        assert await answer.json() == {"name": "desk", "state": "running", "guest": ""}


async def test_a_status_that_cannot_be_had_says_why(desk: Desk, http: aiohttp.ClientSession) -> None:
    async def status() -> dict[str, object]:
        raise StateError("the machine is missing", hint="make one")

    console = serving(desk, status=status)
    await console.start()
    async with http.get(f"{base(console)}/api/status?token={console.token}") as answer:
        assert answer.status == 503
        assert await answer.json() == {"error": "the machine is missing", "hint": "make one"}
    await console.stop()


# --- viewers ---


async def test_any_client_is_served_one_command_a_message(console: ConsoleServer, desk: Desk) -> None:
    async with connect(console.ws) as viewer:
        assert viewer.protocol.extensions == [], "pictures are compressed already"
        decoder = Decoder(Direction.TO_VIEWER)
        for kind in (m.Screen, m.Picture, m.Picture, m.Picture, m.Picture):
            decoder.receive_data(await viewer.recv(decode=False))
            (command,) = decoder.events()
            assert isinstance(command, kind)
        sent: list[m.Command] = [m.Compression(1, 50, 1024, 50), m.Pause(False), m.Key(0x41, True), m.Mouse(1, 2)]
        for command in sent:
            await viewer.send(encode(command))
        await desk.until(lambda: desk.seen == sent)


async def test_texts_are_answered_or_ignored(console: ConsoleServer, desk: Desk) -> None:
    rtt = '{"ctrlChannel":"102938", "type":"rtt", "time":12345}'
    async with connect(console.ws) as viewer:
        for text in ("2", "{", '{"type":"options"}', "[]", "[" * 100_000, '{"ctrlChannel":102938,"type":"ping"}', rtt):
            await viewer.send(text)
        texts: list[str] = []
        while len(texts) < 2:
            message = await viewer.recv()
            if isinstance(message, str):
                texts.append(message)
    assert json.loads(texts[0]) == {"ctrlChannel": "102938", "type": "pong"}
    assert texts[1] == rtt, "an echo is exactly what was said"
    assert desk.seen == []


async def test_garbage_is_parted_from_and_logged(
    console: ConsoleServer, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(console.ws) as viewer:
        await viewer.send(b"\x00\x06\x00\x00")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                await viewer.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (
        1002, "a command of type 6 says it is 0 bytes long; 4 is the least",
    )  # fmt: skip
    assert "4 is the least" in caplog.text


@pytest.mark.parametrize(
    ("failure", "code", "reason", "level"),
    [
        (MachineError("QEMU died: " + "ü" * 200), 1011, "QEMU died: ", logging.WARNING),
        (RuntimeError("a bug"), 1011, "for the reason, see its log", logging.ERROR),
    ],
)
async def test_a_failure_to_serve_is_told_and_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture, failure: Exception, code: int, reason: str, level: int
) -> None:
    async def serve(_: ViewerStream) -> None:
        raise failure

    console = serving(desk, serve_viewer=serve)
    await console.start()
    async with connect(console.ws) as viewer:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await viewer.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    assert reason in closed.value.rcvd.reason
    assert [record.levelno for record in caplog.records if record.name == "pommel.console.server"] == [level]
    await console.stop()


async def test_a_message_too_long_to_be_a_viewer_s_is_refused(console: ConsoleServer) -> None:
    async with connect(console.ws, compression=None) as viewer:
        await viewer.send(bytes(200_000))
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                await viewer.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_the_server_s_own_goodbye_reaches_the_viewer(desk: Desk) -> None:
    async def serve(viewer: ViewerStream) -> None:
        await viewer.close(1013, "desk is not running")

    console = serving(desk, serve_viewer=serve)
    await console.start()
    async with connect(console.ws) as viewer:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await viewer.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "desk is not running")
    await console.stop()


async def test_a_viewer_that_leaves_while_it_is_sent_to_is_no_failure(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    left = asyncio.Event()

    async def serve(viewer: ViewerStream) -> None:
        try:
            while True:
                await viewer.send(bytes(60_000))
                await asyncio.sleep(0)
        finally:
            left.set()

    console = serving(desk, serve_viewer=serve)
    await console.start()
    viewer = await connect(console.ws)
    await viewer.recv()
    viewer.transport.abort()
    async with asyncio.timeout(patient(10)):
        await left.wait()
    await console.stop()
    assert caplog.records == []


@contextlib.contextmanager
def deaf_viewer(console: ConsoleServer) -> Iterator[socket.socket]:
    """A viewer that shakes hands and then neither reads nor answers."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", console.port))
    peer.sendall(
        f"GET /kvm?token={console.token} HTTP/1.1\r\nHost: 127.0.0.1:{console.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    yield peer
    peer.close()


async def flood(viewer: ViewerStream) -> None:
    while True:
        await viewer.send(bytes(60_000))


async def test_what_a_viewer_has_not_read_is_counted_and_sending_waits(desk: Desk) -> None:
    seen: list[int] = []

    async def serve(viewer: ViewerStream) -> None:
        assert viewer.unsent_bytes() < 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await flood(viewer)
        seen.append(viewer.unsent_bytes())

    console = serving(desk, serve_viewer=serve)
    await console.start()
    with deaf_viewer(console):
        async with asyncio.timeout(patient(10)):
            while not seen:
                await asyncio.sleep(0.02)
        await console.stop()
    assert 100_000 < seen[0] < 16_000_000


async def test_a_dead_viewer_is_found_out_even_while_something_is_sent_to_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_HEARTBEAT_S", 0.4)
    served = asyncio.Event()

    async def serve(viewer: ViewerStream) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(flood(viewer))
                async for _ in viewer.messages():
                    pass
                sending.cancel()
        finally:
            served.set()

    console = serving(desk, serve_viewer=serve)
    await console.start()
    with deaf_viewer(console):
        async with asyncio.timeout(patient(10)):
            await served.wait()
        await console.stop()


# --- ports, start and stop ---


async def test_a_busy_port_makes_way_for_the_next(desk: Desk) -> None:
    one = serving(desk)
    await one.start()
    two = serving(desk, port=one.port)
    await two.start()
    assert two.port > one.port
    assert f":{two.port}/" in two.url
    await two.stop()
    await one.stop()


async def test_the_default_port(desk: Desk) -> None:
    console = serving(desk, port=None)
    await console.start()
    assert 8600 <= console.port < 8700
    await console.stop()


async def test_no_free_port_at_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_PORTS_TRIED", 1)
    one = serving(desk)
    await one.start()
    with pytest.raises(BusyError, match=str(one.port)):
        await serving(desk, port=one.port).start()
    await one.stop()


async def test_a_host_that_is_not_this_computer_s(desk: Desk) -> None:
    with pytest.raises(UsageError, match=r"192\.0\.2\.1"):
        await serving(desk, host="192.0.2.1").start()


async def test_all_addresses_when_told_so(desk: Desk) -> None:
    console = serving(desk, host="0.0.0.0")
    await console.start()
    assert console.url.startswith(f"http://127.0.0.1:{console.port}/?token=")
    assert console.ws == f"ws://127.0.0.1:{console.port}/kvm?token={console.token}"
    async with connect(console.ws) as viewer:
        assert await viewer.recv() == encode(m.Screen(640, 400))
    await console.stop()


async def test_stop_tells_viewers_and_leaves_nothing(desk: Desk) -> None:
    before = asyncio.all_tasks()
    console = serving(desk)
    await console.start()
    viewers = [await connect(console.ws) for _ in range(3)]
    await desk.until(lambda: len(desk.viewers) == 3)
    await console.stop()
    for viewer in viewers:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                await viewer.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (ENDED, "the console has been closed")
        await viewer.wait_closed()
    assert desk.viewers == []
    await asyncio.sleep(0)
    ours = {task for task in asyncio.all_tasks() - before if "websockets" not in repr(task)}
    assert ours == set()
    await console.stop()
    with pytest.raises(OSError):
        await connect(console.ws)


async def test_a_viewer_that_will_not_go_is_cut_off_at_stop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_GOODBYE_S", 0.2)
    ended: list[Any] = []

    async def serve(viewer: ViewerStream) -> None:
        try:
            await flood(viewer)
        except BaseException as why:
            ended.append(why)
            raise

    console = serving(desk, serve_viewer=serve)
    await console.start()
    with deaf_viewer(console):
        await asyncio.sleep(0.2)
        async with asyncio.timeout(patient(5)):
            await console.stop()
    assert len(ended) == 1
