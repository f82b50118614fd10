"""Whoever has the page open: asked over HTTP, answering on the page, in a real Chromium."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from pommel.console import audience as audience_module
from pommel.console import stream
from pommel.console.server import ConsoleServer
from waits import until

from .conftest import Open
from .desk import Desk
from .test_page_in_chromium import ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAY = {"title": "MeshCentral", "text": "Ann (ann) would like to <b>see</b> this screen", "timeout_s": 20}


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


def address(console: ConsoleServer, what: str, token: str | None = None) -> str:
    return f"http://127.0.0.1:{console.port}/api/{what}?token={token or console.token}"


async def call(http: aiohttp.ClientSession, console: ConsoleServer, method: str, what: str, said: Any) -> Any:
    async with http.request(method, address(console, what), json=said) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def next_text(page: aiohttp.ClientWebSocketResponse) -> str:
    """The type of the next control text; pictures come between."""
    while (message := await page.receive(20)).type is not aiohttp.WSMsgType.TEXT:
        assert message.type is aiohttp.WSMsgType.BINARY
    return str(json.loads(message.data)["type"])


# --- over HTTP ---


@pytest.mark.parametrize(
    ("method", "what"), [("POST", "question"), ("POST", "notice"), ("PUT", "bar"), ("POST", "answer")]
)
async def test_it_takes_the_token_and_no_other_site(
    console: ConsoleServer, http: aiohttp.ClientSession, method: str, what: str
) -> None:
    async with http.request(method, address(console, what, "wrong"), json={}) as answer:
        assert answer.status == 403
    headers = {"Origin": "http://127.0.0.1:1"}
    async with http.request(method, address(console, what), json={}, headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize(
    ("method", "what", "said"),
    [
        ("POST", "question", None),
        ("POST", "question", []),
        ("POST", "question", {"title": "x", "text": "x"}),
        ("POST", "question", {"title": "x", "text": 1, "timeout_s": 1}),
        ("POST", "question", {"title": "x", "text": "x", "timeout_s": True}),
        ("POST", "question", {"title": "x", "text": "x", "timeout_s": float("nan")}),
        ("POST", "notice", {"title": "x", "text": "x"}),
        ("POST", "question", {"title": "x", "text": "x", "timeout_s": 10**400}),
        ("PUT", "bar", {"text": 1, "for_s": 1}),
        ("POST", "answer", {"id": "1", "allowed": True}),
        ("POST", "answer", {"id": True, "allowed": True}),
        ("POST", "answer", {"id": 1, "allowed": 1}),
    ],
)
async def test_nonsense_is_refused(
    console: ConsoleServer, http: aiohttp.ClientSession, method: str, what: str, said: Any
) -> None:
    async with http.request(method, address(console, what), data=json.dumps(said)) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]
    for nonsense in (b"{", b"[" * 5000, b'{"text":"x","for_s":' + b"9" * 5000 + b"}"):
        async with http.request(method, address(console, what), data=nonsense) as answer:
            assert answer.status == 400


async def test_nobody_is_there(console: ConsoleServer, http: aiohttp.ClientSession) -> None:
    async with http.ws_connect(console.ws):  # some other viewer, which knows of no questions
        assert await call(http, console, "POST", "question", MAY) == {"allowed": None}
        said = {"title": "x", "text": "y", "must_close": False}
        assert await call(http, console, "POST", "notice", said) == {"pages": 0}


async def test_a_page_that_does_not_read_holds_up_nobody(
    console: ConsoleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "TELL_S", 0.1)
    monkeypatch.setattr(audience_module, "_LATE_S", 0.0)

    class Stuck:
        async def send_text(self, text: str) -> None:
            await asyncio.sleep(60)

    page: Any = Stuck()
    async with console.audience.with_page(page):
        assert await console.audience.notify("x", "y", must_close=False) == 0
        assert await console.audience.ask("x", "y", 0.2) is None


async def test_a_question_is_over_when_the_last_page_has_gone(
    console: ConsoleServer, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience_module, "_GONE_S", 0.3)
    async with http.ws_connect(f"{console.ws}&audience") as page:
        await until(lambda: console.audience.present)
        asking = asyncio.ensure_future(call(http, console, "POST", "question", MAY))
        assert await next_text(page) == "question"
    assert await asking == {"allowed": None}
    assert not console.audience.answer(1, allowed=True)


async def test_a_question_is_over_when_its_time_is(
    console: ConsoleServer, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience_module, "_LATE_S", 0.2)
    async with http.ws_connect(f"{console.ws}&audience") as page:
        await until(lambda: console.audience.present)
        assert await call(http, console, "POST", "question", MAY | {"timeout_s": 0.2}) == {"allowed": None}
        assert [await next_text(page) for _ in range(2)] == ["question", "answered"]


# --- on the page ---


async def asked(http: aiohttp.ClientSession, console: ConsoleServer, page: Page, **more: Any) -> asyncio.Future[Any]:
    asking = asyncio.ensure_future(call(http, console, "POST", "question", MAY | more))
    await expect(page.locator("#question")).to_be_visible()
    return asking


@pytest.mark.parametrize(("button", "allowed"), [("Allow", True), ("Refuse", False)])
async def test_a_person_answers(
    open_page: Open, console: ConsoleServer, http: aiohttp.ClientSession, button: str, allowed: bool
) -> None:
    page = await open_page()
    question = page.locator("#question")
    await expect(question).to_be_hidden()
    asking = await asked(http, console, page)
    await expect(page.get_by_role("alertdialog", name="MeshCentral")).to_be_visible()
    await expect(page.locator("#question-text")).to_have_text(MAY["text"])
    await expect(page.locator("#question-left")).to_have_text("20 s to answer")
    await expect(page.get_by_role("button", name="Close", exact=True)).to_be_hidden()
    await page.get_by_role("button", name=button).click()
    assert await asking == {"allowed": allowed}
    await expect(question).to_be_hidden()


async def test_typing_goes_on_into_the_machine_and_answers_nothing(
    open_page: Open, console: ConsoleServer, http: aiohttp.ClientSession, desk: Desk
) -> None:
    page = await ready(await open_page(), desk)
    asking = await asked(http, console, page)
    await expect(page.locator("#field")).to_be_focused()
    for key in ("Enter", "Space", "Escape"):
        await page.keyboard.press(key)
    await desk.until(lambda: len(desk.seen) >= 6)
    await expect(page.locator("#question")).to_be_visible()
    assert not asking.done()
    await page.get_by_role("button", name="Refuse").click()
    assert await asking == {"allowed": False}
    await expect(page.locator("#field")).to_be_focused()


async def test_a_click_that_was_meant_for_the_screen_allows_nothing(
    open_page: Open, console: ConsoleServer, http: aiohttp.ClientSession
) -> None:
    page = await open_page()
    await page.clock.install()
    asking = await asked(http, console, page)
    allow = page.get_by_role("button", name="Allow")
    await expect(allow).to_be_disabled()
    await page.clock.run_for(700)
    await expect(allow).to_be_enabled()
    await allow.click()
    assert await asking == {"allowed": True}


async def test_the_first_answer_of_any_page_counts(
    open_page: Open, console: ConsoleServer, http: aiohttp.ClientSession
) -> None:
    one, two = await open_page(), await open_page()
    asking = await asked(http, console, one)
    await expect(two.locator("#question")).to_be_visible()
    three = await open_page()
    await expect(three.locator("#question-text")).to_have_text(MAY["text"])  # it came while the question stood
    await two.get_by_role("button", name="Refuse").click()
    assert await asking == {"allowed": False}
    for page in (one, three):
        await expect(page.locator("#question")).to_be_hidden()


async def test_questions_wait_for_one_another(
    open_page: Open, console: ConsoleServer, http: aiohttp.ClientSession
) -> None:
    page = await open_page()
    first = await asked(http, console, page, text="the first")
    second = asyncio.ensure_future(call(http, console, "POST", "question", MAY | {"text": "the second"}))
    await expect(page.locator("#question-text")).to_have_text("the first")
    await page.get_by_role("button", name="Refuse").click()
    assert await first == {"allowed": False}
    await expect(page.locator("#question-text")).to_have_text("the second")
    await page.get_by_role("button", name="Allow").click()
    assert await second == {"allowed": True}


async def test_who_asked_and_left_is_not_answered(
    open_page: Open, console: ConsoleServer, http: aiohttp.ClientSession
) -> None:
    page = await open_page()
    asking = await asked(http, console, page)
    asking.cancel()
    await expect(page.locator("#question")).to_be_hidden()


async def test_a_message_stays_until_it_is_closed_and_a_toast_goes(
    open_page: Open, console: ConsoleServer, http: aiohttp.ClientSession
) -> None:
    page = await open_page()
    said = {"title": "Update", "text": "tonight <b>at five</b>"}
    assert await call(http, console, "POST", "notice", said | {"must_close": True}) == {"pages": 1}
    await expect(page.locator("#question-text")).to_have_text(said["text"])
    await expect(page.get_by_role("button", name="Allow")).to_be_hidden()
    await page.get_by_role("button", name="Close", exact=True).click()
    await expect(page.locator("#question")).to_be_hidden()
    await page.clock.install()
    await call(http, console, "POST", "notice", said | {"must_close": False})
    await expect(page.locator("#toast")).to_have_text("Update: tonight <b>at five</b>")
    await page.clock.run_for(6000)
    await expect(page.locator("#toast")).to_be_hidden()


async def test_the_bar_says_who_looks_on_and_takes_no_clicks(
    open_page: Open, console: ConsoleServer, http: aiohttp.ClientSession, desk: Desk
) -> None:
    page = await ready(await open_page(), desk)
    bar = page.locator("#shared")
    await expect(bar).to_be_hidden()
    said = {"text": "This screen is shared with <Ann>", "for_s": 60}
    assert await call(http, console, "PUT", "bar", said) == {"pages": 1}
    await expect(bar).to_have_text(said["text"])
    later = await open_page()
    await expect(later.locator("#shared")).to_have_text(said["text"])
    box = await bar.bounding_box()
    assert box is not None and box["width"] == 1000
    assert await page.evaluate("([x, y]) => document.elementFromPoint(x, y).id", [500, box["y"] + 3]) != "shared"
    await call(http, console, "PUT", "bar", {"text": None, "for_s": 0})
    await expect(bar).to_be_hidden()
    await call(http, console, "PUT", "bar", {"text": "of one that was killed", "for_s": 0.2})
    await expect(bar).to_have_text("of one that was killed")
    await expect(bar).to_be_hidden()
