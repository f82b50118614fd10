"""Passes in place of the token, the view-only link, new links, and who looks on. Real sockets where there are any."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import websockets
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from isolation import patient
from pommel.console import passes
from pommel.console.guard import cookies_named
from pommel.console.looking import may_look
from pommel.console.server import Admission, ConsoleServer, Secrets, Visitor
from pommel.console.visitors import name_of
from pommel.wire import messages as m
from pommel.wire.codec import encode

from .conftest import a_pass, serving
from .desk import Desk
from .pasteboard import Pasteboard

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCREEN = encode(m.Screen(640, 400))
WISHES = [m.InputLock(m.QUERY_LOCK), m.Refresh(), m.Compression(1, 50, 1024, 50), m.Pause(True), m.GetDisplays(), m.FrameRateTimer(20),
          m.Abilities(1)]  # fmt: skip
DEEDS = [
    m.Key(0x41, True), m.KeyUnicode(65, True), m.Mouse(1, 2), m.Mouse(1, 2, m.LEFT_DOWN), m.MouseWheel(1, 2, 120), m.Turn(1, 2, 3, 4),
    m.SideButton(1, 2, 0, True), m.MoveBy(3, 4, 0),
    m.CtrlAltDel(), m.SetDisplay(1), m.InputLock(m.LOCKED), m.InitTouch(),
    m.Touch(m.TouchPoint(1, 2, 3, 4)), m.MultiTouch((m.TouchPoint(1, 2, 3, 4),)), m.Message("a"), m.Disconnect(),
    m.Unknown(250, b"later"),
]  # fmt: skip


def base(console: ConsoleServer) -> str:
    return f"http://127.0.0.1:{console.port}"


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="module")
async def console(desk: Desk) -> AsyncIterator[ConsoleServer]:
    server = serving(desk, clipboard=Pasteboard())
    await server.start()
    yield server
    await server.stop()


# --- what is kept ---


async def test_what_is_kept_lets_the_same_people_in_and_is_no_secret_of_theirs() -> None:
    kept = Secrets()
    secret, made = kept.issue(view_only=True, now_s=1000.0)
    text = json.dumps(kept.document())
    assert secret not in text
    again = Secrets.read(json.loads(text))
    assert (again.token, again.look_token) == (kept.token, kept.look_token)
    found = again.by_pass(secret, 1001.0)
    assert found == made
    assert found is not None
    assert found.view_only
    for wrong in (None, "", secret[:-1], made.hash, kept.token, kept.look_token, "\udcff"):
        assert again.by_pass(wrong, 1001.0) is None


async def test_each_token_is_good_for_its_own() -> None:
    kept = Secrets()
    assert kept.token != kept.look_token
    assert kept.by_token(kept.token) is False
    assert kept.by_token(kept.look_token) is True
    assert all(kept.by_token(wrong) is None for wrong in (None, "", "x", "\udcff", kept.token + "x"))


async def test_a_pass_ends_a_day_after_its_last_use() -> None:
    kept = Secrets()
    secret, made = kept.issue(view_only=False, now_s=0.0)
    assert not kept.use(made, passes.NOTED_S - 1), "not each use is worth a write"
    assert kept.use(made, passes.UNUSED_S - 1)
    assert kept.by_pass(secret, 2 * passes.UNUSED_S - 2) is made
    assert kept.by_pass(secret, 2 * passes.UNUSED_S) is None


async def test_there_are_never_more_passes_than_a_file_may_hold() -> None:
    kept = Secrets()
    issued = [kept.issue(view_only=False, now_s=float(now))[0] for now in range(passes.MOST + 50)]
    assert len(kept.document()["passes"]) == passes.MOST
    assert kept.by_pass(issued[-1], 400.0) is not None
    assert kept.by_pass(issued[0], 400.0) is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda some: st.lists(some) | st.dictionaries(
    st.sampled_from(["token", "look-token", "passes", "hash", "place", "view_only", "used_s"]), some)))  # fmt: skip
async def test_law_a_record_that_is_none_is_made_anew(document: Any) -> None:
    kept = Secrets.read(document if isinstance(document, Mapping) else {"passes": document})
    assert kept.token
    assert kept.look_token
    assert json.dumps(kept.document())


# --- cookies ---


async def test_the_cookie_is_for_its_own_path_alone(console: ConsoleServer, http: aiohttp.ClientSession) -> None:
    """No other server of this address is asked for that path, so none is sent the cookie."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as browser, browser.get(console.url) as page:
        assert page.status == 200
        home = str(page.url)
        for path in ("", "api/status", "static/app.js"):
            async with browser.get(home + path) as answer:
                assert answer.status == 200
    assert list(jar.filter_cookies(page.url)) == [f"pommel_{console.port}"]
    assert not jar.filter_cookies(page.url.with_path("/"))
    assert not jar.filter_cookies(page.url.with_port(18999).with_path("/"))


async def test_the_token_is_no_pass_and_a_pass_no_token(console: ConsoleServer, http: aiohttp.ClientSession) -> None:
    async with http.get(base(console), headers={"Cookie": f"pommel_{console.port}={console.token}"}) as answer:
        assert answer.status == 403
    secret = a_pass(console)["Cookie"].partition("=")[2]
    async with http.get(f"{base(console)}/?token={secret}") as answer:
        assert answer.status == 403


async def test_two_consoles_do_not_take_each_other_s(desk: Desk, http: aiohttp.ClientSession) -> None:
    one, two = serving(desk), serving(desk)
    await one.start()
    await two.start()
    both = {"Cookie": "; ".join(a_pass(console)["Cookie"] for console in (one, two))}
    for console in (one, two):
        async with http.get(base(console), headers=both) as answer:
            assert answer.status == 200
    other = {"Cookie": a_pass(one)["Cookie"].replace(str(one.port), str(two.port))}
    async with http.get(base(two), headers=other) as answer:
        assert answer.status == 403
    await one.stop()
    await two.stop()


async def test_what_other_servers_set_under_our_name_is_no_harm(
    console: ConsoleServer, http: aiohttp.ClientSession
) -> None:
    ours = a_pass(console)["Cookie"]
    for more in (f"pommel_{console.port}=x; {ours}", f"{ours}; pommel_{console.port}=x; =;;", f'a="; {ours}'):
        async with http.get(base(console), headers={"Cookie": more}) as answer:
            assert answer.status == 200, more
    assert cookies_named("a", ["a=1; b=2;a=3", "a="]) == ["1", "3", ""]


async def test_who_cannot_be_written_down_is_let_in_all_the_same(
    desk: Desk, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    def keep(_: Mapping[str, object]) -> None:
        raise OSError("the disk is full")

    console = serving(desk, token=Admission(keep=keep))
    await console.start()
    place = f"{base(console)}/at/{passes.new_place()}/?token={console.token}"
    async with http.get(place, allow_redirects=False) as answer:
        assert answer.status == 303
        assert "Set-Cookie" in answer.headers
    assert "the disk is full" in caplog.text
    async with http.post(f"{base(console)}/api/new-token?token={console.token}") as answer:
        assert answer.status == 503
        assert "the disk is full" in (await answer.json())["error"]
    async with http.get(console.url, allow_redirects=False) as answer:
        assert answer.status == 303, "the old link is good still: nobody was told of another"
    await console.stop()


# --- looking only ---


@pytest.mark.parametrize("how", ["link", "pass", "console"])
async def test_who_may_only_look_sees_and_wishes_and_does_nothing(desk: Desk, how: str) -> None:
    server = serving(desk, token=Admission(view_only=how == "console"))
    await server.start()
    address = {"link": server.look_ws, "console": server.ws}.get(how, server.ws.split("?")[0])
    headers = a_pass(server, view_only=True) if how == "pass" else {}
    async with connect(address, additional_headers=headers) as viewer:
        assert await viewer.recv() == SCREEN
        for command in [*DEEDS, *WISHES]:
            await viewer.send(encode(command))
        await desk.until(lambda: WISHES[-1] in desk.seen)
    assert desk.seen == WISHES
    await server.stop()


async def test_all_that_a_viewer_can_say_is_sorted() -> None:
    said = {type(command) for command in [*WISHES, *DEEDS]} | {m.Shown}
    to_viewers = {m.Picture, m.Copy, m.Screen, m.DisplayList, m.TouchReady, m.ResetTouches, m.KeyState, m.Debug,
                  m.Alert, m.DisplayInfo, m.MouseCursor, m.Video, m.Pointer, m.MouseKind, m.Move, m.Nop}  # fmt: skip
    assert said | to_viewers == set(m.Command.__args__)


async def test_every_address_but_the_screen_s_is_refused(
    desk: Desk, console: ConsoleServer, http: aiohttp.ClientSession
) -> None:
    allowed = {"/", "/static/{name}", "/manifest.webmanifest", "/kvm", "/api/status"}
    runner = console._runner
    assert isinstance(runner, aiohttp.web.AppRunner)
    routes = [(route.method, route.resource.canonical) for route in runner.app.router.routes() if route.resource]
    assert len(routes) > 20
    looks = a_pass(console, view_only=True)
    for method, path in routes:
        bare = path.removeprefix("/at/{place}")
        async with http.request(
            method,
            base(console) + path.format(place="x", name="app.js", copies="1", index="0"),
            headers=looks,
            allow_redirects=False,
        ) as answer:
            if bare in allowed and method in ("GET", "HEAD"):
                assert answer.status in (200, 400), "a KVM socket needs more than a GET"
            else:
                assert answer.status == 403, (method, path)
    assert not may_look("POST", "/")
    assert not may_look("GET", "/api/later")
    assert not may_look("GET", "/at/x/static/../api/clipboard")


async def test_who_may_only_look_is_not_asked_and_told_nothing_of_the_clipboard(console: ConsoleServer) -> None:
    async with connect(f"{console.look_ws}&audience&clipboard") as viewer:
        assert await viewer.recv() == SCREEN
        assert console.audience.present == 0
        await viewer.send('{"ctrlChannel":"102938","type":"ping"}')
        while isinstance(text := await viewer.recv(), bytes):
            pass
        assert json.loads(text)["type"] == "pong"


async def test_the_page_says_what_it_is_for(console: ConsoleServer, http: aiohttp.ClientSession) -> None:
    for view_only, may in ((True, "look"), (False, "act")):
        async with http.get(base(console), headers=a_pass(console, view_only=view_only)) as answer:
            assert f'data-may="{may}"' in await answer.text()


# --- new links ---


async def test_a_new_link_ends_the_old_ones_and_cuts_viewers_off(desk: Desk, http: aiohttp.ClientSession) -> None:
    kept: list[Mapping[str, object]] = []
    console = serving(desk, token=Admission(keep=kept.append))
    await console.start()
    old, old_look, cookie, looks = console.url, console.look_url, a_pass(console), a_pass(console, view_only=True)
    async with connect(console.ws) as one, connect(console.look_ws) as two:
        assert await one.recv() == await two.recv() == SCREEN
        async with http.post(f"{base(console)}/api/new-token?token={console.token}") as answer:
            assert await answer.json() == {"url": console.url, "ws": console.ws}
        for viewer in (one, two):
            with pytest.raises(websockets.ConnectionClosed) as closed:
                while True:
                    await viewer.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, "new link" in closed.value.rcvd.reason) == (1008, True)
    assert kept[-1] == console.secrets.document()
    for url, headers in ((old, {}), (old_look, {}), (base(console), cookie), (base(console), looks)):
        async with http.get(url, headers=headers, allow_redirects=False) as answer:
            assert answer.status == 403
    for url in (console.url, console.look_url):
        async with http.get(url, allow_redirects=False) as answer:
            assert answer.status == 303
    await console.stop()


@pytest.mark.parametrize("who", ["a pass", "the view-only link", "nobody"])
async def test_only_the_link_itself_makes_a_new_one(
    console: ConsoleServer, http: aiohttp.ClientSession, who: str
) -> None:
    before = console.url
    query = f"?token={console.secrets.look_token}" if who == "the view-only link" else ""
    headers = a_pass(console) if who == "a pass" else {}
    async with http.post(f"{base(console)}/api/new-token{query}", headers=headers) as answer:
        assert answer.status == 403
    assert console.url == before


# --- who looks on ---


async def test_who_comes_and_goes_is_told(desk: Desk) -> None:
    told: list[tuple[Visitor, ...]] = []
    console = serving(desk, token=Admission(watched=lambda visitors: told.append(tuple(visitors))))
    await console.start()
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    async with connect(console.ws, user_agent_header=firefox) as one:
        await one.recv()
        async with connect(console.look_ws, user_agent_header="curl/8") as two:
            await two.recv()
            first, second = told[-1]
            assert (first.name, first.address, first.view_only) == ("Firefox on Linux", "127.0.0.1", False)
            assert (second.name, second.view_only) == ("curl/8", True)
            assert first.id != second.id
            assert abs(first.since_s - time.time()) < 60
    async with asyncio.timeout(patient(5)):
        while told[-1]:
            await asyncio.sleep(0.01)
    await console.stop()


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "Chrome on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18 Safari/604", "Safari on an iPhone"),
        ("Mozilla/5.0 (Linux; Android 16) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Python/3.11 websockets/15.0", "Python/3.11"),
        ("\x1b[31mred", "a program"),
        ("\udcff", "a program"),
        ("x" * 9000, "x" * 40),
        (None, "a program"),
    ],
)  # fmt: skip
async def test_names_of_visitors(agent: str | None, name: str) -> None:
    assert name_of(agent) == name
