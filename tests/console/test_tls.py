"""TLS of the console's own: real clients, real certificates, and handshakes that never end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from websockets.asyncio.client import connect

from isolation import patient
from pommel.console import server as server_module
from pommel.console import turnstile
from pommel.console.self_signed import LIVES, RENEWED_BEFORE, names_of, own_certificate
from pommel.console.server import ConsoleServer
from pommel.console.tls import Tls, read
from pommel.console.turnstile import ConnectionLimits
from pommel.errors import UsageError
from pommel.wire import messages as m
from pommel.wire.codec import encode
from pommel.wire.viewer import ViewerStream
from waits import until

from .certificates import a_certificate, openssl
from .conftest import serving
from .desk import Desk
from .pasteboard import Pasteboard
from .test_turnstile import held, is_open

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCREEN = encode(m.Screen(640, 400))
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
# The first bytes of a ClientHello: the record's header says that 512 follow.
HALF_A_HELLO = bytes.fromhex("1603010200") + b"\x01"


@contextlib.asynccontextmanager
async def encrypted(desk: Desk, tls: Tls, **options: object) -> AsyncIterator[ConsoleServer]:
    server = serving(desk, **options)
    server.use_tls(tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
def own(tmp_path: Path) -> Tls:
    return Tls(partial(own_certificate, tmp_path / "tls", ()))


@pytest_asyncio.fixture(loop_scope="module")
async def secure(desk: Desk, own: Tls) -> AsyncIterator[ConsoleServer]:
    async with encrypted(desk, own, clipboard=Pasteboard()) as server:
        yield server


def anybody(**changes: object) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, value in changes.items():
        setattr(context, name, value)
    return context


async def test_the_page_by_tls(secure: ConsoleServer, browser: Browser, desk: Desk) -> None:
    context = await browser.new_context(ignore_https_errors=True)
    page = await context.new_page()
    sockets: list[str] = []
    page.on("websocket", lambda opened: sockets.append(opened.url))
    assert secure.url.startswith("https://127.0.0.1:") and secure.ws.startswith("wss://127.0.0.1:")
    await page.goto(secure.url)
    await page.wait_for_selector("body[data-state=live]")
    await expect(page.locator("#copy")).to_be_visible()
    assert [url.partition("://")[0] for url in sockets] == ["wss"]
    (cookie,) = await context.cookies()
    assert cookie.get("secure") is True and cookie.get("httpOnly") is True and cookie.get("sameSite") == "Strict"
    await page.keyboard.press("a")
    await desk.until(lambda: any(isinstance(one, m.Key) for one in desk.seen))
    await page.reload()  # by the cookie alone
    await page.wait_for_selector("body[data-state=live]")
    await context.close()


async def test_who_knows_the_fingerprint_knows_the_console(secure: ConsoleServer, tmp_path: Path) -> None:
    right = bytes.fromhex(secure.fingerprint.replace(":", ""))
    async with aiohttp.ClientSession() as http:
        async with http.get(secure.url.replace("/?", "/api/status?"), ssl=aiohttp.Fingerprint(right)) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ServerFingerprintMismatch):
            await http.get(secure.url, ssl=aiohttp.Fingerprint(bytes(32)))
    words = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{secure.port}",
        "-CAfile",
        str(tmp_path / "tls/console.pem"),
    ]
    by_name = [*words, "-verify_ip", "127.0.0.1", "-verify_return_error"]
    said = await asyncio.to_thread(subprocess.run, by_name, input=b"", capture_output=True, check=False)
    assert b"Verify return code: 0 (ok)" in said.stdout and b"TLSv1.3" in said.stdout


async def test_older_tls_is_refused(secure: ConsoleServer) -> None:
    async def with_at_most(version: ssl.TLSVersion) -> str:
        context = anybody(maximum_version=version, minimum_version=ssl.TLSVersion.TLSv1)
        context.set_ciphers("ALL:@SECLEVEL=0")  # else it is this client that would refuse
        _, writer = await asyncio.open_connection("127.0.0.1", secure.port, ssl=context)
        writer.close()
        return str(writer.get_extra_info("ssl_object").version())

    with pytest.warns(DeprecationWarning):
        assert await with_at_most(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        with pytest.raises((ConnectionError, ssl.SSLError)) as refusal:
            await with_at_most(ssl.TLSVersion.TLSv1_1)
    # Said by the other side: asyncio 3.11 cuts off without TLS's word for it.
    assert isinstance(refusal.value, ConnectionError) or "ALERT_PROTOCOL_VERSION" in str(refusal.value)


@pytest.mark.parametrize("path", ["/", "/?token={token}", "/api/status?token={token}"])
async def test_plain_http_is_told_to_use_tls_and_gets_nothing(secure: ConsoleServer, path: str) -> None:
    address = f"http://127.0.0.1:{secure.port}{path.format(token=secure.token)}"
    async with aiohttp.ClientSession() as http, http.get(address, allow_redirects=False) as answer:
        said = await answer.text()
        assert answer.status == 400 and "https" in said and secure.token not in said
        assert "Location" not in answer.headers and "Set-Cookie" not in answer.headers


async def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(secure: ConsoleServer) -> None:
    """As a browser's may, in one segment: asyncio hands that on before anybody of ours is there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", secure.port)
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    hands = anybody().wrap_bio(inward, outward)
    while True:
        try:
            hands.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outward.read())
            inward.write(await reader.read(1 << 16))
    hands.write(f"GET /api/status?token={secure.token} HTTP/1.1\r\nHost: 127.0.0.1:{secure.port}\r\n\r\n".encode())
    writer.write(outward.read())  # the end of the handshake, and the request
    said = b""
    async with asyncio.timeout(patient(10)):
        while not said:
            inward.write(await reader.read(1 << 16))
            with contextlib.suppress(ssl.SSLWantReadError):
                said = hands.read(1 << 16)
    assert said.startswith(b"HTTP/1.1 200")
    writer.close()


async def test_slow_handshakes_stop_nobody_and_end(desk: Desk, own: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "STRANGER_S", 1.5)
    async with encrypted(desk, own) as server:
        with held(server.port, 200, HALF_A_HELLO) as slow, held(server.port, 56, b"") as silent:
            began = time.monotonic()
            async with connect(server.ws, ssl=anybody()) as viewer:
                assert await viewer.recv() == SCREEN
                assert time.monotonic() - began < patient(1.0)
                everybody = slow + silent
                await until(lambda: not any(map(is_open, everybody)), what="a handshake that never ends goes on")
                await viewer.send('{"ctrlChannel":"102938","type":"ping"}')
                async with asyncio.timeout(patient(5)):
                    while await viewer.recv() != '{"ctrlChannel": "102938", "type": "pong"}':
                        pass


async def test_more_handshakes_than_there_are_places(desk: Desk, own: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConnectionLimits, "of_this_process", lambda: ConnectionLimits(8, 4, asking=4))
    async with encrypted(desk, own) as server:
        with held(server.port, 60, HALF_A_HELLO) as slow:
            await until(lambda: sum(map(is_open, slow)) <= 8, what="more strangers than there may be")
            async with connect(server.ws, ssl=anybody()) as viewer:
                assert await viewer.recv() == SCREEN
            with held(server.port, 60, b"") as silent:
                await until(lambda: sum(map(is_open, silent)) <= 8, what="more strangers than there may be")
                assert sum(map(is_open, slow)) >= 6, "who has said nothing goes first"


async def test_what_waits_below_tls_is_counted(own: Tls) -> None:
    """Else a picture would count as shown that is still here, and the next would come late."""
    here: asyncio.Future[ViewerStream] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def serve(viewer: ViewerStream) -> None:
        here.set_result(viewer)
        await over.wait()

    async with encrypted(Desk(), own, serve_viewer=serve) as server:
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await asyncio.to_thread(plain.connect, ("127.0.0.1", server.port))
            peer = await asyncio.to_thread(anybody().wrap_socket, plain)
            ask = f"GET /kvm?token={server.token} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
            ask += "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            await asyncio.to_thread(peer.sendall, ask.encode())
            viewer, sent = await here, 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patient(20)):
                    while True:
                        async with asyncio.timeout(0.5):
                            await viewer.send(bytes(60_000))
                        sent += 60_000
            raw = fcntl.ioctl(peer.fileno(), termios.FIONREAD, bytes(4))
            assert sent > 100_000
            assert viewer.unsent_bytes() >= sent - int.from_bytes(raw, sys.byteorder)
            over.set()
            peer.close()


async def test_a_certificate_that_is_renewed_serves_without_a_restart(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "CERTIFICATE_LOOKED_AT_S", 0.05)
    kept: list[dict[str, object]] = []
    cert, key = a_certificate(tmp_path)
    entry = server_module.Admission(keep=kept.append)
    async with (
        encrypted(desk, Tls(partial(read, cert, key)), token=entry) as server,
        connect(server.ws, ssl=anybody()) as viewer,
    ):
        assert await viewer.recv() == SCREEN
        before = server.fingerprint
        key.write_text("half of it is written")
        await until(lambda: "the old certificate is still used" in caplog.text, what="a broken key passed unseen")
        async with connect(server.ws, ssl=anybody()) as another:
            assert await another.recv() == SCREEN
        fresh_cert, fresh_key = a_certificate(tmp_path, "fresh")
        cert.write_bytes(fresh_cert.read_bytes())
        key.write_bytes(fresh_key.read_bytes())
        await until(lambda: server.fingerprint != before, what="the new one was not taken")
        await until(lambda: kept, what="it was not written down")
        shown = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", server.port))
        assert shown.strip() == fresh_cert.read_text().strip()
        await viewer.send(encode(m.Refresh()))
        await desk.until(lambda: m.Refresh() in desk.seen)


def mangled(folder: Path, how: str) -> tuple[Path, Path]:
    cert, key = a_certificate(folder, days={"ended": (-9, -2), "not yet": (3, 9)}.get(how, (-1, 30)))
    match how:
        case "another's":
            return cert, a_certificate(folder, "other")[1]
        case "encrypted" | "encrypted, old":
            kind = ("-traditional",) if how == "encrypted, old" else ()
            openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", *kind, "-out", folder / "closed.key")
            return cert, folder / "closed.key"
        case "no certificate":
            return key, key
        case "no key":
            return cert, cert
        case "neither":
            cert.write_text("hello")
        case "missing":
            key.unlink()
        case "a folder":
            return folder, key
    return cert, key


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("another's", "does not belong to the certificate"), ("encrypted", "is encrypted"), ("encrypted, old", "is encrypted"),
        ("no certificate", "no readable certificate"), ("no key", "no readable key"), ("neither", "no readable certificate"),
        ("missing", "cannot be read: No such file"), ("a folder", "cannot be read: Is a directory"),
        ("ended", "expired on"), ("not yet", "valid only from"),
    ],
)  # fmt: skip
async def test_what_cannot_serve_is_refused_by_name(tmp_path: Path, how: str, said: str) -> None:
    cert, key = mangled(tmp_path, how)
    with pytest.raises(UsageError, match=said) as refusal:
        await asyncio.to_thread(read, cert, key)  # a thread: OpenSSL would ask for a password on a terminal
    assert str(tmp_path) in refusal.value.message


async def test_a_key_may_be_in_the_certificate_s_file(tmp_path: Path) -> None:
    cert, key = a_certificate(tmp_path)
    cert.write_bytes(key.read_bytes() + cert.read_bytes())
    assert read(cert, cert).fingerprint == read(cert, key).fingerprint


async def test_our_own_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    made = own_certificate(tmp_path / "tls", ["mac.lan", "10.1.2.3"], NOW)
    assert made == own_certificate(tmp_path / "tls", ["10.1.2.3"], NOW)
    assert made.cert.stat().st_mode & 0o777 == 0o600 and made.cert.parent.stat().st_mode & 0o777 == 0o700
    assert {"localhost", "127.0.0.1", "::1", "mac.lan", "10.1.2.3"} <= set(made.names)
    assert made.begins < NOW < NOW + RENEWED_BEFORE < made.ends <= NOW + LIVES


async def test_our_own_is_made_anew_before_it_ends_and_for_another_name(tmp_path: Path) -> None:
    made = own_certificate(tmp_path, ["mac.lan"], NOW)
    late = made.ends - RENEWED_BEFORE
    assert own_certificate(tmp_path, [], late - timedelta(minutes=1)) == made
    renewed = own_certificate(tmp_path, [], late)
    assert renewed.fingerprint != made.fingerprint and renewed.ends > made.ends
    assert "mac.lan" in renewed.names, "another console may be reached by it"
    named = own_certificate(tmp_path, ["Büro", "[fe80::1%eth0]", "Desk.example"], late)
    assert {"mac.lan", "fe80::1", "desk.example"} <= set(named.names)
    assert own_certificate(tmp_path, ["Büro", "[fe80::1%eth0]", "Desk.example"], late) == named
    many = [f"host-{number}" for number in range(100)]
    assert own_certificate(tmp_path, many, late) == own_certificate(tmp_path, many, late)
    (tmp_path / "console.pem").write_bytes(b"\xff")
    assert own_certificate(tmp_path, [], late).ends > late


async def test_two_at_once_make_one(tmp_path: Path) -> None:
    words = "import sys; from pathlib import Path; from pommel.console.self_signed import own_certificate as own\n"
    words += "print(own(Path(sys.argv[1]), []).fingerprint)"
    both = [subprocess.Popen([sys.executable, "-c", words, tmp_path], stdout=subprocess.PIPE) for _ in range(2)]
    assert len({child.communicate()[0] for child in both}) == 1 and not any(child.returncode for child in both)


async def test_the_names_are_those_by_which_it_is_reached() -> None:
    mine = socket.gethostname()
    assert names_of(None, ["desk.example:8443", "mac.lan"]) == (mine, "desk.example", "mac.lan")
    assert names_of("192.0.2.7", []) == (mine, "192.0.2.7")
    everywhere = names_of("0.0.0.0", [])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        assert probe.getsockname()[0] in everywhere
    assert "0.0.0.0" not in everywhere
