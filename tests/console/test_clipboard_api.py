"""The clipboard over HTTP, with a real server: whole and exact, or refused with words; and who hears of it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect

from isolation import patient
from pommel.console import clipboard_api
from pommel.console.clipboard import LIMIT_BYTES, Clip, ClipFile, ClipState
from pommel.console.server import ConsoleServer
from pommel.errors import DeadlineError, StateError

from .conftest import a_pass, serving
from .desk import Desk
from .pasteboard import Pasteboard

pytestmark = pytest.mark.asyncio(loop_scope="module")

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
SECRET = "hunter2"


@pytest_asyncio.fixture(loop_scope="module")
async def board() -> Pasteboard:
    return Pasteboard()


@pytest_asyncio.fixture(loop_scope="module")
async def console(desk: Desk, board: Pasteboard) -> AsyncIterator[ConsoleServer]:
    server = serving(desk, clipboard=board)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def http(console: ConsoleServer) -> AsyncIterator[aiohttp.ClientSession]:
    cookie = a_pass(console)
    base = f"http://127.0.0.1:{console.port}"
    async with aiohttp.ClientSession(base, cookie_jar=aiohttp.DummyCookieJar(), headers=cookie) as session:
        yield session


def body(**forms: bytes) -> aiohttp.FormData:
    data = aiohttp.FormData(default_to_multipart=True)
    for name, content in forms.items():
        data.add_field(name, io.BytesIO(content), filename=name, content_type="application/octet-stream")
    return data


async def put(http: aiohttp.ClientSession, data: Any, **headers: str) -> tuple[int, str]:
    async with http.put("/api/clipboard", data=data, headers=headers) as answer:
        return answer.status, (await answer.json())["error"] if answer.status != 204 else ""


async def fetched(http: aiohttp.ClientSession) -> dict[str, bytes]:
    async with http.get("/api/clipboard") as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        found = {}
        async for part in aiohttp.MultipartReader.from_response(answer):  # type: ignore[arg-type]
            assert isinstance(part, aiohttp.BodyPartReader)
            found[str(part.name)] = bytes(await part.read())
        return found


# --- there and back ---


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.text(st.characters(codec="utf-8"), min_size=1) | st.just("\r\n--boundary\r\n\0\ufeff\n"),
    st.none() | st.text(st.characters(codec="utf-8"), min_size=1),
    st.none() | st.binary().map(lambda data: PNG + data),
)
async def test_a_clip_arrives_and_comes_back_byte_for_byte(
    http: aiohttp.ClientSession, board: Pasteboard, text: str, html: str | None, png: bytes | None
) -> None:
    clip = Clip(text, html, png)
    assert await put(http, body(**dict(clip.forms))) == (204, "")
    assert board.holds == clip
    assert await fetched(http) == dict(clip.forms)


async def test_files_are_named_and_each_is_sent_for_itself(
    http: aiohttp.ClientSession, console: ConsoleServer, board: Pasteboard
) -> None:
    board.contents = [b"<script>\r\n" * 30_000, b""]
    await board.copy(Clip(files=(ClipFile("page\u202e.html", 300_000), ClipFile("empty", 0))))
    told = json.loads((await fetched(http))["files"])
    assert told["files"][0] == {"name": "page\u202e.html", "size": 300_000, "why": "", "folder": False}
    place = f"/api/clipboard/files/{told['copies']}"
    async with http.get(f"{place}/0") as answer:
        assert (answer.status, await answer.read()) == (200, board.contents[0])
        sent = answer.headers
    assert sent["Content-Disposition"] == "attachment; filename*=UTF-8''page%E2%80%AE.html"
    assert (sent["Content-Type"], sent["Content-Length"]) == ("application/octet-stream", "300000")
    assert (sent["X-Content-Type-Options"], sent["Content-Security-Policy"]) == ("nosniff", "sandbox")
    async with http.get(f"{place}/1") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    for wrong, status in ((f"{place}/2", 503), (f"{place}/..%2f0", 404), (f"{place}/-1", 404), (place, 404)):
        async with http.get(wrong) as answer:
            assert answer.status == status, wrong
    async with http.get(f"{place}/0", headers=a_pass(console, view_only=True)) as answer:
        assert answer.status == 403
    async with http.get(f"{place}/0", headers={"Sec-Fetch-Site": "cross-site"}) as answer:
        assert answer.status == 403
    # Shorter than it was: what was announced does not come, and the browser says so.
    board.contents[0] = b"short"
    with pytest.raises(aiohttp.ClientError):
        async with http.get(f"{place}/0") as answer:
            await answer.read()
    await board.copy(Clip("another copy"))
    async with http.get(f"{place}/0") as answer:
        assert answer.status == 503 and "no longer has this file" in await answer.text()


async def test_a_clip_older_than_the_machines_is_refused_and_each_has_its_number(
    http: aiohttp.ClientSession, board: Pasteboard
) -> None:
    async with http.put("/api/clipboard?seen=0", data=body(text=b"one")) as answer:
        assert (answer.status, answer.headers["Pommel-Copies"]) == (204, "1")
    for seen, status in (("0", 409), ("x", 400), ("", 400), ("1", 204)):
        async with http.put(f"/api/clipboard?seen={seen}", data=body(text=seen.encode())) as answer:
            assert answer.status == status, seen
    assert [clip.text for clip in board.sets] == ["one", "1"]


async def test_an_empty_clipboard(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/clipboard") as answer:
        assert (answer.status, await answer.read()) == (204, b"")


async def test_the_answer_comes_when_the_machine_has_it(http: aiohttp.ClientSession, board: Pasteboard) -> None:
    board.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        putting = tasks.create_task(put(http, body(text=b"x")))
        await asyncio.sleep(0.1)
        assert not putting.done()
        board.gate.set()
    assert putting.result() == (204, "")


# --- refused, with words ---


async def test_exactly_the_limit_goes_and_a_byte_more_does_not(
    http: aiohttp.ClientSession, board: Pasteboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LIMIT_BYTES == 64 * 2**20
    monkeypatch.setattr(clipboard_api, "LIMIT_BYTES", 8 << 20)
    half = b"a" * (4 << 20)
    assert (await put(http, body(text=half, html=half)))[0] == 204
    board.sets.clear()
    status, error = await put(http, body(text=half, html=half + b"b"))
    assert (status, board.sets) == (413, [])
    assert "the limit is 8 MiB" in error
    board.holds = Clip(text="a" * (8 << 20), html="b")
    async with http.get("/api/clipboard") as answer:
        assert answer.status == 413
        assert (await answer.json())["error"] == "the clip is 8.0 MiB; the limit is 8 MiB"


async def test_the_whole_limit_in_earnest(http: aiohttp.ClientSession, board: Pasteboard) -> None:
    png = PNG + bytes(LIMIT_BYTES - len(PNG))
    assert await put(http, body(png=png)) == (204, "")
    assert hash(board.holds.png) == hash(png)
    assert len((await fetched(http))["png"]) == LIMIT_BYTES


MALFORMED = {
    "no boundary": ("multipart/form-data", b"--x\r\n\r\n"),
    "another boundary": ("multipart/form-data; boundary=y", b"--x\r\n\r\n"),
    "nothing": ("multipart/form-data; boundary=y", b""),
    "only an end": ("multipart/form-data; boundary=y", b"--y--\r\n"),
    "cut short": ("multipart/form-data; boundary=y", b'--y\r\nContent-Disposition: form-data; name="text"\r\n\r\nabc'),
    "bad header": ("multipart/form-data; boundary=y", b"--y\r\nno header at all\r\n\r\nabc\r\n--y--\r\n"),
    "bad disposition": ("multipart/form-data; boundary=y", b'--y\r\nContent-Disposition: form-data; na"text"\r\n\r\nabc\r\n--y--\r\n'),
    "no name": ("multipart/form-data; boundary=y", b"--y\r\nContent-Type: text/plain\r\n\r\nabc\r\n--y--\r\n"),
    "nested": ("multipart/form-data; boundary=y", b"--y\r\nContent-Type: multipart/mixed; boundary=z\r\n\r\n--z--\r\n--y--\r\n"),
    "a long boundary": ("multipart/form-data; boundary=" + "y" * 200, b"--y\r\n"),
    "json": ("application/json", b"{}"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
async def test_what_is_no_clip(http: aiohttp.ClientSession, board: Pasteboard, case: str) -> None:
    kind, data = MALFORMED[case]
    status, error = await put(http, data, **{"Content-Type": kind})
    assert (status, board.sets) == (400, []), error
    assert error


@pytest.mark.parametrize(
    ("forms", "error"),
    [
        ({"text": b"\xff"}, "the clip's text is not UTF-8"),
        ({"png": b"GIF89a"}, "the clip's png is not a PNG"),
        ({"files": b"x"}, "a clip's forms are text, html, png, each at most once"),
        ({"text": b""}, "the clip has no form: text, html or png"),
    ],
)
async def test_forms_that_are_not_right(
    http: aiohttp.ClientSession, board: Pasteboard, forms: dict[str, bytes], error: str
) -> None:
    assert await put(http, body(**forms)) == (400, error)
    assert board.sets == []


async def test_a_form_twice(http: aiohttp.ClientSession, board: Pasteboard) -> None:
    data = body(text=b"a")
    data.add_field("text", b"b", filename="text")
    assert (await put(http, data))[0] == 400
    assert board.sets == []


async def test_a_machine_that_cannot_says_why(http: aiohttp.ClientSession, board: Pasteboard) -> None:
    board.failure = StateError("the machine's SSH does not answer", hint="pommel ssh desk")
    for method in ("GET", "PUT"):
        async with http.request(method, "/api/clipboard", data=body(text=b"a") if method == "PUT" else None) as answer:
            assert answer.status == 503
            assert await answer.json() == {"error": "the machine's SSH does not answer", "hint": "pommel ssh desk"}


async def test_a_bug_is_logged_without_the_clip(
    http: aiohttp.ClientSession, board: Pasteboard, caplog: pytest.LogCaptureFixture
) -> None:
    board.failure = ValueError(f"cannot put {SECRET}")
    status, error = await put(http, body(text=SECRET.encode()))
    assert (status, error) == (500, "the clipboard failed; for details, see the console's log")
    assert SECRET not in caplog.text
    assert "ValueError" in caplog.text
    assert "pasteboard.py" in caplog.text


async def test_nothing_is_logged_of_a_clip_at_any_level(
    http: aiohttp.ClientSession, board: Pasteboard, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert (await put(http, body(text=SECRET.encode())))[0] == 204
        assert (await fetched(http))["text"] == SECRET.encode()
        board.failure = DeadlineError("too late")
        await put(http, body(text=SECRET.encode()))
    assert SECRET not in caplog.text


async def test_a_browser_that_leaves_in_the_middle_sets_nothing(
    console: ConsoleServer, board: Pasteboard, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", console.port)
    writer.write(
        f"PUT /api/clipboard?token={console.token} HTTP/1.1\r\nHost: 127.0.0.1:{console.port}\r\n"
        "Content-Type: multipart/form-data; boundary=y\r\nContent-Length: 1000\r\n\r\n"
        '--y\r\nContent-Disposition: form-data; name="text"\r\n\r\nhalf of it'.encode()
    )
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.1)
    assert board.sets == []
    assert caplog.records == []


async def test_a_browser_that_stops_sending_is_not_waited_for(
    console: ConsoleServer, board: Pasteboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clipboard_api, "_CHUNK_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", console.port)
    writer.write(
        f"PUT /api/clipboard?token={console.token} HTTP/1.1\r\nHost: 127.0.0.1:{console.port}\r\n"
        "Content-Type: multipart/form-data; boundary=y\r\nContent-Length: 1000\r\n\r\n".encode()
    )
    async with asyncio.timeout(patient(5)):
        assert b"408" in await reader.readline()
    assert board.sets == []
    writer.close()
    await writer.wait_closed()


# --- who gets in ---


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Cookie": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_strangers(
    http: aiohttp.ClientSession, board: Pasteboard, method: str, headers: dict[str, str], status: int
) -> None:
    board.holds = Clip(SECRET)
    async with http.request(method, "/api/clipboard", headers=headers, data=body(text=b"evil")) as answer:
        assert answer.status == status
        assert SECRET not in await answer.text()
    assert board.sets == []


async def test_a_console_without_a_clipboard_has_none(desk: Desk) -> None:
    server = serving(desk)
    await server.start()
    url = f"http://127.0.0.1:{server.port}/api/clipboard?token={server.token}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 404
    await server.stop()


# --- who hears of it ---


async def told(viewer: ClientConnection) -> dict[str, object]:
    async with asyncio.timeout(patient(5)):
        while True:
            message = await viewer.recv()
            if isinstance(message, str):
                return dict(json.loads(message))


async def test_a_page_hears_how_the_clipboard_is_and_of_each_change(console: ConsoleServer, board: Pasteboard) -> None:
    async with connect(console.ws + "&clipboard") as page, connect(console.ws) as other:
        said = {"ctrlChannel": "102938", "type": "clipboard", "available": True, "why": "", "copies": 0}
        assert await told(page) == said
        await board.copy(Clip(SECRET))
        assert await told(page) == said | {"copies": 1}
        await board.become(ClipState(False, "asleep", 1))
        assert await told(page) == said | {"available": False, "why": "asleep", "copies": 1}
        assert board.watchers == 1
        await other.send('{"ctrlChannel":"102938","type":"ping"}')
        assert (await told(other))["type"] == "pong", "others are told nothing"
    async with asyncio.timeout(patient(5)):
        while board.watchers:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (StateError("no key", hint="pommel ssh desk --copy-id"), "no key: pommel ssh desk --copy-id"),
        (ValueError(SECRET), "the clipboard failed; for details, see the console's log"),
    ],
)
async def test_a_clipboard_that_breaks_takes_no_viewer_with_it(
    desk: Desk, caplog: pytest.LogCaptureFixture, failure: Exception, why: str
) -> None:
    class Broken(Pasteboard):
        async def changes(self) -> Any:
            yield ClipState(True)
            raise failure

    server = serving(desk, clipboard=Broken())
    await server.start()
    async with connect(server.ws + "&clipboard") as page:
        assert (await told(page))["available"] is True
        ended = await told(page)
        assert (ended["available"], ended["why"]) == (False, why)
        await page.send('{"ctrlChannel":"102938","type":"ping"}')
        assert (await told(page))["type"] == "pong"
    await server.stop()
    assert SECRET not in caplog.text
