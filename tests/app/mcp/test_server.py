"""`pommel mcp` with the SDK's own client, by stdio and HTTP, before a real small machine."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation
from PIL import Image
from playwright.async_api import async_playwright, expect

from app.clips import alive, machine_behind
from app.machine.test_waiting import small_machine
from chromium import FLAGS, headless
from clipboard.conftest import Sshd
from driver import Shell
from isolation import patient
from pommel.app.mcp import guest_work
from pommel.app.mcp.permissions import permissions
from pommel.app.mcp.server import McpServer
from pommel.app.workspace import Workspace
from pommel.errors import DeadlineError, StateError
from pommel.paths import Home
from waits import until, wait_until

INPUT = ("--machine", "m", "--allow", "input")


@pytest.fixture(scope="module")
def tiny() -> Iterator[Shell]:
    """A running machine whose guest shows a picture, for all tests."""
    with small_machine() as made:
        made.run("start", "m", timeout_s=patient(60))
        yield made


def noted(shell: Shell) -> list[str]:
    """What clients have done so far, as the machine's log has it."""
    log = shell.machine("m") / "events.log"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["text"] for line in lines if line["event"] == "mcp"]


@contextlib.asynccontextmanager
async def by_stdio(shell: Shell, *words: str) -> AsyncIterator[Client]:
    told = shell.root / "stderr"
    server = StdioServerParameters(
        command=shell.command[0], args=[*shell.command[1:], "mcp", *words], env=shell.env, cwd=shell.cwd
    )
    with told.open("w") as err:
        async with Client(
            stdio_client(server, errlog=err), client_info=Implementation(name="the \x1btest", version="1")
        ) as client:
            yield client


def in_process(shell: Shell, **flags: Any) -> Client:
    """A client of a server in this process, which is the same but for the start of a program."""
    workspace = Workspace(Home.find(shell.env), shell.cwd, shell.env)
    server = McpServer(workspace, permissions(workspace.file, **flags))
    return Client(server._server, client_info=Implementation(name="test", version="1"))


async def call(client: Client, tool: str, **arguments: Any) -> Any:
    return await client.call_tool(tool, arguments)


def text(result: Any) -> str:
    return str(result.content[0].text)


async def test_a_client_looks_and_may_do_nothing_else_by_default(tiny: Shell) -> None:
    async with by_stdio(tiny) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["list_machines", "status", "screenshot", "wait"]
        assert all("untrusted" in (tool.description or "") for tool in tools if tool.name == "screenshot")
        (seen,) = json.loads(text(await call(client, "list_machines")))["machines"]
        assert seen["name"] == "m" and seen["state"] == "running"
        assert "url" not in json.loads(text(await call(client, "status", machine="m")))
        refused = await call(client, "type", machine="m", text="x")
        assert refused.is_error and "type is not allowed here" in text(refused)
        for arguments, said in (
            ({"machine": "nobody"}, "nobody"),
            ({"machine": "m", "longest_side": 9}, "longest_side"),
            ({"machine": "m", "shell": "x"}, "shell"),
            ({"machine": "m", "region": [0, 0, 9999, 1]}, "not on the screen"),
            ({"machine": ["m"]}, "machine"),
            ({"machine": "../m"}, "m"),
        ):
            wrong = await call(client, "screenshot", **arguments)
            assert wrong.is_error and said in text(wrong), arguments
    assert "Traceback" not in (tiny.root / "stderr").read_text()


async def test_a_click_in_a_scaled_screenshot_is_one_on_the_screen_and_each_act_is_in_the_log(tiny: Shell) -> None:
    before = len(noted(tiny))
    async with by_stdio(tiny, *INPUT) as client:
        rest = json.loads(text(await call(client, "wait", machine="m", seconds=0.5, timeout_s=patient(30))))
        assert rest["until"] == "rest"
        shot = await call(client, "screenshot", machine="m", longest_side=100, format="png")
        told, picture = text(shot), Image.open(io.BytesIO(base64.b64decode(shot.content[1].data)))
        assert shot.content[1].mime_type == "image/png" and max(picture.size) == 100
        found = re.match(r"screenshot (\d+): (\d+)x(\d+) pixels, scale ([\d.]+)", told)
        assert found is not None and (int(found[2]), int(found[3])) == picture.size
        clicked = await call(client, "click", machine="m", x=50, y=20, screenshot=int(found[1]))
        factor = 1 / float(found[4])
        x, y = map(int, re.findall(r"\d+", text(clicked)))
        assert not clicked.is_error and abs(x - 50.5 * factor) <= 1 and abs(y - 20.5 * factor) <= 1.5
        outside = await call(client, "click", machine="m", x=100, y=0, screenshot=int(found[1]))
        assert outside.is_error and "is not in screenshot" in text(outside)
        assert (await call(client, "click", machine="m", x=9999, y=0)).is_error
        assert not (await call(client, "type", machine="m", text="secret word")).is_error
        assert not (await call(client, "key", machine="m", chords=["shift-a", "return"])).is_error
        assert not (await call(client, "scroll", machine="m", x=5, y=5, down=2)).is_error
        dragged = await call(client, "drag", machine="m", x=5, y=5, to_x=50, to_y=60)
        assert text(dragged) == "dragged from 5, 5 to 50, 60 of the screen"
        assert (await call(client, "drag", machine="m", x=5, y=5, to_x=9999, to_y=60)).is_error
        assert "no key called" in text(await call(client, "key", machine="m", chords=["hyperx"]))
    lines = noted(tiny)[before:]
    assert lines[0] == "client the ?test looks at the screen"
    assert "client the ?test types 11 characters" in lines and "client the ?test presses 2 keys" in lines
    assert "client the ?test drags (left, from 5, 5 to 50, 60)" in lines
    assert (
        "secret" not in (tiny.machine("m") / "events.log").read_text()
        and len([line for line in lines if "looks" in line]) == 1
    )


async def test_the_page_shows_what_a_client_does(tiny: Shell) -> None:
    tiny.run("console", "m", "--detach", "--no-open")
    url = tiny.json("console", "m")["url"]
    async with by_stdio(tiny, *INPUT) as client, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=headless(), args=FLAGS)
        page = await browser.new_page()
        await page.goto(url)
        await page.wait_for_selector("body[data-state=live]", timeout=patient(20) * 1000)
        bar = page.locator("#shared")
        for tool, arguments, shown in (
            ("screenshot", {}, "looks at the screen"),
            ("click", {"x": 5, "y": 6}, "clicks (left, 1 times, at 5, 6)"),
            ("type", {"text": "secret"}, "types 6 characters"),
        ):
            assert not (await call(client, tool, machine="m", **arguments)).is_error
            await expect(bar).to_have_text(f"MCP client the ?test {shown}", timeout=patient(10) * 1000)
        await browser.close()


async def test_view_only_allows_nothing_and_other_machines_are_not_there(tiny: Shell) -> None:
    kept = (tiny.cwd / "pommel.toml").read_text()
    tiny.config(f'{kept}[machine.n]\nupstream = "own"\n[mcp]\nallow = ["all"]\nmachines = ["n"]\n')
    async with in_process(tiny) as client:
        assert "run" in [tool.name for tool in (await client.list_tools()).tools]
        assert json.loads(text(await call(client, "list_machines"))) == {"machines": []}
        for tool, more in (("screenshot", {}), ("type", {"text": "x"}), ("stop", {})):
            refused = await call(client, tool, machine="m", **more)
            assert refused.is_error and "no machine 'm'" in text(refused)
    async with in_process(tiny, view_only=True, machines=("m",)) as client:
        assert "type" not in [tool.name for tool in (await client.list_tools()).tools]
        assert (await call(client, "type", machine="m", text="x")).is_error
    tiny.config(kept)


def test_what_would_be_allowed_is_shown_and_wrong_words_are_refused(tiny: Shell) -> None:
    told = tiny.json("mcp", "--show", *INPUT)
    assert told["tools"][-5:] == ["click", "scroll", "drag", "type", "key"] and told["allowed_machines"] == ["m"]
    for words, said in (
        (("--allow", "typ", "--machine", "m"), "did you mean type?"),
        (("--machine", "nobody"), "nobody"),
        (("--port", "80"), "--port goes with --http"),
        (("--json",), "--json goes with --show"),
    ):
        assert said in tiny.run("mcp", *words, status=2).stderr, words


# --- HTTP


@pytest.fixture(scope="module")
def http(tiny: Shell) -> Iterator[tuple[str, str, subprocess.Popen[bytes]]]:
    """A server that has told where it listens: its address, token and process."""
    told = tiny.root / "http"
    with told.open("wb") as err:
        child = tiny.popen("mcp", "--http", *INPUT, stdout=subprocess.PIPE, stderr=err, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: b"token" in told.read_bytes() or child.poll() is not None, patient(30))
        found = re.search(r"(http://\S+)  \(its token: (\S+);", told.read_text())
        assert found is not None, told.read_text()
        file = Path(found[2])
        assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
        yield found[1], file.read_text().strip(), child
    finally:
        child.kill()
        child.communicate()


async def test_web_pages_and_whoever_has_no_token_are_refused(http: tuple[str, str, subprocess.Popen[bytes]]) -> None:
    url, token, _ = http
    good = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    port = url.split(":")[2].partition("/")[0]
    async with aiohttp.ClientSession() as session:
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer x"}, 401),
            ({**good, "Origin": "http://evil.example"}, 403),
            ({**good, "Origin": f"http://127.0.0.1:{port}"}, 403),
            ({**good, "Origin": "null"}, 403),
            ({**good, "Host": f"evil.example:{port}"}, 421),  # DNS rebinding
            ({**good, "Host": "127.0.0.1"}, 421),
        ):
            async with session.post(url, json=body, headers=headers) as answer:
                assert answer.status == status, headers
                assert "Access-Control-Allow-Origin" not in answer.headers
        async with session.options(url, headers={"Origin": "http://evil.example"}) as answer:
            assert answer.status == 403
    with contextlib.closing(HTTPConnection("127.0.0.1", int(port), timeout=patient(10))) as large:
        large.putrequest("POST", "/mcp")
        for name, value in {**good, "Content-Type": "application/json", "Content-Length": str(5 << 20)}.items():
            large.putheader(name, value)
        large.endheaders()
        assert large.getresponse().status == 413


async def test_a_client_by_http_with_the_token_works_and_the_server_ends_when_told(
    http: tuple[str, str, subprocess.Popen[bytes]],
) -> None:
    """It is the last one that has the server."""
    url, token, child = http
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=patient(30)) as session,
        Client(streamable_http_client(url, http_client=session)) as client,
    ):
        assert (await call(client, "screenshot", machine="m")).content[1].mime_type == "image/jpeg"
        assert "typed 2 characters" in text(await call(client, "type", machine="m", text="ab"))
    child.terminate()
    await until(lambda: child.poll() is not None, patient(20))
    assert child.returncode == 0 and child.stdout is not None and child.stdout.read() == b""


# --- inside a guest, which is a real sshd here


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sshd]:
    (tmp_path / "ssh").mkdir()
    box = Sshd(tmp_path / "ssh", {"PATH": os.environ["PATH"]})
    yield box
    box.close()


async def test_commands_and_files_have_limits_and_are_whole(box: Sshd, tmp_path: Path) -> None:
    workspace = machine_behind(box, tmp_path / "w", None)
    with alive(workspace):
        ran = await guest_work.run(workspace, "trial", "cat; echo no >&2; exit 3", input=b"in", timeout_s=patient(20))
        assert (ran.status, ran.out, ran.err, ran.cut) == (3, b"in", b"no\n", False)
        ran = await guest_work.run(workspace, "trial", "head -c 9000000 /dev/zero", timeout_s=patient(20))
        assert ran.cut and len(ran.out) == guest_work.OUTPUT_MAX
        with pytest.raises(DeadlineError, match="did not end in 2 s"):
            await guest_work.run(workspace, "trial", "sleep 30", timeout_s=2)
        file, data = tmp_path / "it's $HOME;x", bytes(range(256)) * 300
        await guest_work.write_file(workspace, "trial", str(file), data)
        assert file.read_bytes() == data
        assert await guest_work.read_file(workspace, "trial", str(file)) == data
        assert [path.name for path in tmp_path.iterdir() if ".pommel-" in path.name] == []
        with pytest.raises(StateError, match="it is a folder"):
            await guest_work.write_file(workspace, "trial", str(tmp_path), b"")
        with pytest.raises(StateError, match="cannot read"):
            await guest_work.read_file(workspace, "trial", "/nowhere/x")
        with file.open("wb") as large:
            large.truncate(guest_work.FILE_MAX + 1)
        with pytest.raises(StateError, match="more than 1 MiB"):
            await guest_work.read_file(workspace, "trial", str(file))


async def test_text_goes_to_the_clipboard_of_a_guest_and_back(posix_guest: Sshd, tmp_path: Path) -> None:
    workspace = machine_behind(posix_guest, tmp_path / "w", None)
    with alive(workspace):
        await guest_work.set_text(workspace, "trial", "grüße\n")
        assert await guest_work.get_text(workspace, "trial", 1000) == "grüße\n"
