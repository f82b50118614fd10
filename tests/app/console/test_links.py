"""Links to a console, made anew and listed, over a real server that this process is the console of."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import connect
from yarl import URL

from console.conftest import a_pass, serving
from console.desk import Desk
from pommel import locks
from pommel.app.console import page as console
from pommel.app.console.listening import Listening
from pommel.app.workspace import Workspace
from pommel.cli.console import console_command
from pommel.console.server import ConsoleServer
from pommel.errors import MachineError, StateError
from pommel.paths import Home, MachinePaths

pytestmark = pytest.mark.asyncio


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    found = Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), tmp_path)
    (tmp_path / "pommel.toml").write_text("[machine.m]\n")
    found.paths("m").directory.mkdir(parents=True)
    monkeypatch.setattr(Workspace, "current", lambda: found)
    return found


@contextlib.asynccontextmanager
async def open_console(paths: MachinePaths) -> AsyncIterator[ConsoleServer]:
    """What `console.serve` does, but for the machine."""
    with locks.hold(paths.console_lock, busy="busy"):
        server: ConsoleServer = serving(
            Desk(), token=console._entry(paths, console._stored_record(paths), lambda: server, Listening())
        )
        await server.start()
        console._keep(paths, server, Listening())
        try:
            yield server
        finally:
            await server.stop()


def cli(*words: str) -> tuple[int, str]:
    outcome = CliRunner().invoke(console_command, [*words], catch_exceptions=True)
    if isinstance(outcome.exception, MachineError | StateError):
        return outcome.exception.exit_code, outcome.exception.message
    return outcome.exit_code, outcome.output


async def test_a_pass_outlives_the_console_and_no_new_link(workspace: Workspace) -> None:
    paths = workspace.paths("m")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        async with open_console(paths) as server:
            async with http.get(server.url, allow_redirects=False) as away:
                place = away.url.join(URL(away.headers["Location"]))
            async with http.get(place, allow_redirects=False) as answer:
                cookie = answer.headers["Set-Cookie"].split(";")[0]
            old, old_look = server.url.partition("?")[2], server.look_url.partition("?")[2]
            assert cookie.partition("=")[2] not in paths.console_record.read_text()
            assert paths.console_record.stat().st_mode & 0o777 == 0o600
        async with open_console(paths) as server:
            assert (server.url.partition("?")[2], server.look_url.partition("?")[2]) == (old, old_look)
            named = f"pommel_{server.port}={cookie.partition('=')[2]}"
            base = f"http://127.0.0.1:{server.port}/"
            async with http.get(base, headers={"Cookie": named}) as answer:
                assert answer.status == 200
        assert await asyncio.to_thread(console.renew, workspace, "m") is None, "no console is open now"
        async with open_console(paths) as server:
            base = f"http://127.0.0.1:{server.port}/"
            for query in (f"?{old}", f"?{old_look}", ""):
                async with http.get(base + query, headers={"Cookie": named}) as answer:
                    assert answer.status == 403


async def test_an_open_console_is_asked_for_a_new_link(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with open_console(workspace.paths("m")) as server:
        old = console.find(workspace.paths("m"))
        assert old is not None
        status, said = await asyncio.to_thread(cli, "m", "--new-token", "--json")
        found = console.find(workspace.paths("m"))
        assert found is not None
        assert status == 0
        assert json.loads(said)["url"] == found.url == server.url != old.url
        assert found.look_url == server.look_url != old.look_url
        assert found.pid == os.getpid()


async def test_a_console_that_does_not_answer_is_told(workspace: Workspace) -> None:
    paths = workspace.paths("m")
    async with open_console(paths) as server:
        await server.stop()
        status, said = await asyncio.to_thread(cli, "m", "--new-token")
    assert (status, "the console of m created no new link" in said) == (1, True)


async def test_who_looks_on(workspace: Workspace) -> None:
    status, said = cli("m", "--who")
    assert (status, said) == (3, "no console of m is open")
    paths = workspace.paths("m")
    async with open_console(paths) as server:
        assert cli("m", "--who") == (0, "m: no viewers\n")
        looks = {**a_pass(server, view_only=True)}
        async with (
            connect(server.ws, user_agent_header="Mozilla/5.0 (X11; Linux) Firefox/140.0") as one,
            connect(server.ws.split("?")[0], additional_headers=looks, user_agent_header="curl/8") as two,
        ):
            await one.recv()
            await two.recv()
            assert paths.console_viewers.stat().st_mode & 0o777 == 0o600
            status, said = cli("m", "--who")
            rows = [line.split() for line in said.splitlines()]
            assert [(row[0], row[-1]) for row in rows] == [("#", "may"), ("1", "acts"), ("2", "looks")]
            assert "Firefox on Linux  127.0.0.1" in said
            told = json.loads(cli("m", "--who", "--json")[1])
            assert [(one["id"], one["name"], one["view_only"]) for one in told["looking"]] == [
                (1, "Firefox on Linux", False), (2, "curl/8", True)]  # fmt: skip
            found = console.find(paths)
            assert found is not None
            assert found.viewers == 2


async def test_the_link_to_look_by_is_printed(workspace: Workspace) -> None:
    async with open_console(workspace.paths("m")) as server:
        found = console.find(workspace.paths("m"))
        assert found is not None
        assert (found.look_url, found.look_ws) == (server.look_url, server.look_ws)
        assert server.secrets.token not in found.look_url + found.look_ws


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--who", "--stop"], "cannot be used together"),
        (["--new-token", "--who"], "cannot be used together"),
        (["--who", "--view-only"], "cannot be used with"),
        (["--new-token", "--port", "9000"], "cannot be used with"),
    ],
)
async def test_what_does_not_go_together_is_refused(workspace: Workspace, words: list[str], said: str) -> None:
    outcome = CliRunner().invoke(console_command, ["m", *words])
    assert said in str(outcome.exception)
