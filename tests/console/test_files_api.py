"""The files over HTTP, with a real SFTP server: what the page needs, and nothing for others."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import tarfile
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from isolation import patient
from pommel.console import files_api
from pommel.console.server import ConsoleServer
from pommel.sftp.spelling import spelled

from .conftest import a_pass, serving
from .desk import Desk
from .shelf import Shelf, shelf_at

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    async with shelf_at(tmp_path / "home") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def console(desk: Desk, shelf: Shelf) -> AsyncIterator[ConsoleServer]:
    server = serving(desk)
    server.share_files(shelf.files)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def http(console: ConsoleServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{console.port}",
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=a_pass(console),
        # A refused upload ends its connection, maybe after the next request has been put on it.
        connector=aiohttp.TCPConnector(force_close=True),
    ) as session:
        yield session


class Http:
    """Asks for files as the page does."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(self, method: str, name: str, query: str, data: Any = None, **headers: str) -> tuple[int, Any]:
        where = aiohttp.client.URL(f"/api/files/{name}?{query}", encoded=True)
        async with self.session.request(method, where, data=data, headers=headers) as answer:
            return answer.status, await answer.json()

    async def content(self, path: bytes, **headers: str) -> tuple[int, bytes, Any]:
        where = aiohttp.client.URL(f"/api/files/content?path={spelled(path)}", encoded=True)
        async with self.session.get(where, headers=headers) as answer:
            return answer.status, await answer.read(), answer.headers


@pytest.fixture
def ask(http: aiohttp.ClientSession) -> Http:
    return Http(http)


def upload(path: str, size: int) -> str:
    return f"path={path}&size={size}&mtime=1000000000"


async def test_a_folder_is_listed_with_names_of_any_bytes(ask: Http, shelf: Shelf) -> None:
    (shelf.home / os.fsdecode(b"a+b & c=%2F\xff\n")).write_bytes(b"xyz")
    (shelf.home / "Büro").mkdir()
    status, told = await ask.ask("GET", "list", "path=~")
    assert status == 200 and told["shown"] == str(shelf.home) and told["space"]["free"] > 0
    found = {one["shown"]: one for one in told["entries"]}
    assert found["Büro"]["kind"] == "folder" and found["Büro"]["name"] == "B%C3%BCro"
    odd = found["a+b & c=%2F\ufffd\ufffd"]
    status, content, _ = await ask.content(os.fsencode(shelf.home) + b"/a+b & c=%2F\xff\n")
    assert (odd["size"], status, content) == (3, 200, b"xyz")
    assert (await ask.ask("POST", "rename", f"path={told['path']}/{odd['name']}&to={told['path']}/plain"))[0] == 200
    assert (shelf.home / "plain").read_bytes() == b"xyz"


async def test_an_upload_goes_on_after_its_connection_and_its_server_broke(ask: Http, shelf: Shelf) -> None:
    data, which = os.urandom(1_000_000), upload("~/data.bin", 1_000_000)
    assert await ask.ask("POST", "begin", which) == (200, {"offset": 0})
    assert await ask.ask("PUT", "piece", f"{which}&at=0", data[:400_000]) == (200, {"offset": 400_000})

    async def breaking() -> AsyncIterator[bytes]:
        yield data[400_000:500_000]
        os.kill(shelf.pid, signal.SIGKILL)
        await asyncio.sleep(0.05)
        yield data[500_000:600_000]

    with pytest.raises((aiohttp.ClientError, AssertionError)):
        status, told = await ask.ask("PUT", "piece", f"{which}&at=400000", breaking(), **{"Content-Length": "600000"})
        assert status < 400, told
    status, told = await ask.ask("POST", "begin", which)
    assert status == 200 and 400_000 <= told["offset"] <= 600_000
    at = told["offset"]
    assert await ask.ask("PUT", "piece", f"{which}&at={at}", data[at:]) == (200, {"offset": 1_000_000})
    assert not (shelf.home / "data.bin").exists()
    assert await ask.ask("POST", "finish", which) == (200, {})
    assert (shelf.home / "data.bin").read_bytes() == data and len(list(shelf.home.iterdir())) == 1


async def test_what_the_page_needs_to_know_of_a_refusal(ask: Http, shelf: Shelf) -> None:
    (shelf.home / "file").touch()
    (shelf.home / "folder").mkdir()
    (shelf.home / "shut").mkdir(0)
    whole = str(shelf.home)
    for method, name, query, status, more in (
        ("GET", "list", "path=~/none", 404, {}),
        ("GET", "list", "path=~/file", 422, {}),
        ("GET", "list", "path=~/shut", 403, {}),
        ("GET", "content", "path=~/none", 404, {}),
        ("POST", "folder", "path=~/file", 409, {"there": True, "replaceable": False}),
        ("POST", "begin", upload("~/file", 3), 409, {"there": True, "replaceable": True}),
        ("POST", "begin", upload("~/folder", 3) + "&replace=yes", 409, {"there": True, "replaceable": False}),
        ("POST", "begin", upload("~/new", 1 << 59), 507, {"full": True}),
        ("PUT", "piece", upload("~/new", 3) + "&at=2", 409, {"offset": 0}),
        ("POST", "finish", upload("~/new", 3), 409, {"offset": 0}),
        ("POST", "remove", f"path={whole}", 422, {}),
        ("POST", "remove", "path=~/..", 400, {}),
        ("POST", "remove", "path=/", 400, {}),
        ("POST", "rename", "path=~/file&to=folder", 400, {}),
        ("POST", "rename", "path=~/file", 400, {}),
        ("GET", "list", "path=~&path=/", 400, {}),
        ("GET", "list", "path=/%00", 400, {}),
        ("POST", "begin", "path=~/x&size=-1&mtime=0", 400, {}),
        ("POST", "begin", "path=~/x&size=1&mtime=%D9%A1", 400, {}),
    ):
        got, told = await ask.ask(method, name, query)
        assert (got, told["error"] != "") == (status, True), (name, query, told)
        assert told.items() >= more.items(), told
    assert sorted(one.name for one in shelf.home.iterdir()) == ["file", "folder", "shut"]


async def test_a_long_path_of_any_bytes_fits_in_a_request(ask: Http, shelf: Shelf) -> None:
    path = b"~/" + b"/".join([b"\xff" * 200] * 15)
    status, told = await ask.ask("POST", "rename", f"path={spelled(path)}&to={spelled(path + b'x')}")
    assert status == 404, told


async def test_a_download_goes_on_where_it_broke_off(ask: Http, shelf: Shelf) -> None:
    data = os.urandom(500_000)
    (shelf.home / "fïle.bin").write_bytes(data)
    path = "~/fïle.bin".encode()
    status, content, headers = await ask.content(path)
    assert (status, content) == (200, data) and headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''f%C3%AFle.bin"
    assert headers["Content-Security-Policy"] == "sandbox"
    mark = headers["ETag"]
    for given, status, part in (
        ("bytes=100-", 206, data[100:]), ("bytes=0-0", 206, data[:1]), ("bytes=-7", 206, data[-7:]),
        ("bytes=499999-600000", 206, data[-1:]), ("bytes=500000-", 416, b""), ("bytes=9-1", 200, data),
        ("bytes=a-b", 200, data), ("lines=1-2", 200, data), ("bytes=" + "9" * 5000 + "-", 200, data),
    ):  # fmt: skip
        got, content, headers = await ask.content(path, Range=given)
        assert (got, content) == (status, part), given
        if status == 206:
            assert headers["Content-Range"].endswith("/500000")
    assert (await ask.content(path, Range="bytes=5-", **{"If-Range": mark}))[:2] == (206, data[5:])
    (shelf.home / "fïle.bin").write_bytes(data[:-1])
    assert (await ask.content(path, Range="bytes=5-", **{"If-Range": mark}))[:2] == (200, data[:-1])


async def test_a_folder_comes_as_an_archive(ask: Http, shelf: Shelf) -> None:
    (shelf.home / "folder" / ".git").mkdir(parents=True)
    (shelf.home / "folder" / ".git" / "config").write_bytes(b"x" * 1000)
    (shelf.home / "folder" / "link").symlink_to(".git/config")
    (shelf.home / "folder" / "out").symlink_to("/etc/passwd")
    status, content, headers = await ask.content(b"~/folder", Range="bytes=10-")
    assert status == 200 and headers["Content-Disposition"].endswith("folder.tar") and "Accept-Ranges" not in headers
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = archive.getnames()
        assert "folder/out" not in names and "folder (left out).txt" in names
        assert archive.extractfile("folder/link").read() == b"x" * 1000  # type: ignore[union-attr]


async def test_a_file_that_becomes_shorter_is_not_a_whole_download(
    ask: Http, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 8 << 20
    (shelf.home / "file").write_bytes(bytes(size))
    begun = files_api._begun

    def cutting(request: Any, facts: Any) -> Any:
        os.truncate(shelf.home / "file", size // 2)
        return begun(request, facts)

    monkeypatch.setattr(files_api, "_begun", cutting)
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask.content(b"~/file")


async def test_nobody_else_gets_any_of_it(console: ConsoleServer, shelf: Shelf) -> None:
    (shelf.home / "file").write_bytes(b"secret")
    asked = [
        ("GET", "list", "path=~"), ("GET", "content", "path=~/file"), ("POST", "folder", "path=~/x"),
        ("POST", "remove", "path=~/file"), ("POST", "rename", "path=~/file&to=~/y"), ("POST", "begin", upload("~/z", 1)),
        ("PUT", "piece", upload("~/z", 1) + "&at=0"), ("POST", "finish", upload("~/z", 0)),
        ("POST", "discard", upload("~/z", 1)),
    ]  # fmt: skip
    full, looks = a_pass(console), a_pass(console, view_only=True)
    strangers: list[dict[str, str]] = [
        {}, looks, full | {"Origin": "http://evil.example"}, full | {"Sec-Fetch-Site": "same-site"},
        full | {"Sec-Fetch-Site": "cross-site"},
    ]  # fmt: skip
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        for headers in strangers:
            for method, name, query in asked:
                where = f"http://127.0.0.1:{console.port}/api/files/{name}?{query}"
                async with session.request(method, where, headers=headers) as answer:
                    assert answer.status == 403 and b"secret" not in await answer.read(), (headers, name)
    assert [one.name for one in shelf.home.iterdir()] == ["file"] and shelf.said == []


async def test_all_pages_and_the_log_are_told(ask: Http, shelf: Shelf, console: ConsoleServer) -> None:
    async with ask.session.ws_connect("/kvm?audience") as page:
        which = upload("~/a.txt", 2)
        await ask.ask("PUT", "piece", f"{which}&at=0", b"hi", **{"User-Agent": "Firefox/140.0 Linux"})
        await ask.ask("POST", "finish", which, **{"User-Agent": "Firefox/140.0 Linux"})
        await ask.ask("POST", "rename", "path=~/a.txt&to=~/b.txt", **{"User-Agent": "Firefox/140.0 Linux"})
        assert console._files_api is not None
        await console._files_api.close()  # it says now what it would say in two seconds
        async with asyncio.timeout(patient(20)):
            while "notice" not in (said := str((await page.receive()).data)):
                pass
        assert "Firefox on Linux (127.0.0.1) uploaded a.txt, 2 B, to ~" in said
    assert shelf.said[1:] == ["Firefox on Linux (127.0.0.1) renamed a.txt to b.txt in ~"]


async def test_a_large_file_takes_no_memory(ask: Http, shelf: Shelf) -> None:
    size = 200 << 20
    with (shelf.home / "large").open("wb") as file:
        file.truncate(size)
    which, sent = upload("~/copy", size), 0
    await ask.ask("POST", "begin", which)
    tracemalloc.start()
    try:
        where = aiohttp.client.URL("/api/files/content?path=~/large", encoded=True)
        async with ask.session.get(where) as answer:
            async for chunk in answer.content.iter_chunked(1 << 18):
                sent += len(chunk)

        async def zeros() -> AsyncIterator[bytes]:
            for _ in range(64):
                yield bytes(1 << 18)

        await ask.ask("PUT", "piece", f"{which}&at=0", zeros(), **{"Content-Length": str(16 << 20)})
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert sent == size
