"""The client against a real HTTP server: sessions, refusals, patience."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from pommel.errors import RecoveryError
from pommel.recovery.catalog import Board
from pommel.recovery.chunklist import FILE_BYTES_MAX
from pommel.recovery.client import TRIES, Client, open_http
from pommel.recovery.origin import Origin
from pommel.recovery.service import WAIT_MAX_S, BoardRefused

from .apple import FakeApple, test_key

BOARD = Board("Mac-27AD2F918AE68F61")


@asynccontextmanager
async def client(apple: FakeApple) -> AsyncIterator[tuple[Client, list[float]]]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with apple.running(), open_http(2) as http:
        yield Client(http, apple.origin, sleep), waits


async def test_ask() -> None:
    apple = FakeApple()
    async with client(apple) as (asking, waits):
        answer = await asking.ask(BOARD)
        assert await asking.fetch_chunklist(answer.chunklist) == apple.chunklist
    assert answer.product == "062-58679"
    assert apple.requests == ["GET /", "POST", "GET chunklist"]
    assert list(apple.posts[0]) == ["cid", "sn", "bid", "k", "fg", "os"]
    assert (len(apple.posts[0]["cid"]), len(apple.posts[0]["k"]), len(apple.posts[0]["fg"])) == (16, 64, 64)
    assert waits == []


async def test_two_requests_do_not_say_the_same_identity() -> None:
    apple = FakeApple()
    async with client(apple) as (asking, _):
        await asking.ask(BOARD)
        await asking.ask(BOARD)
    assert apple.posts[0]["k"] != apple.posts[1]["k"]


@pytest.mark.parametrize("status", [403, 404])
async def test_a_refused_board_is_an_error_of_its_own(status: int) -> None:
    apple = FakeApple()
    apple.post_faults.append((status, {}))
    async with client(apple) as (asking, waits):
        with pytest.raises(BoardRefused, match=BOARD.board_id):
            await asking.ask(BOARD)
    assert waits == []


async def test_a_refused_session_is_renewed_at_once() -> None:
    apple = FakeApple()
    apple.post_faults.append((401, {}))
    async with client(apple) as (asking, waits):
        await asking.ask(BOARD)
    assert apple.requests == ["GET /", "POST", "GET /", "POST"]
    assert waits == [0.0]


async def test_retry_after_is_honoured_and_else_waits_grow() -> None:
    apple = FakeApple()
    apple.post_faults.extend([(429, {"Retry-After": "17"}), (503, {"Retry-After": "99999"}), (500, {}), (429, {})])
    async with client(apple) as (asking, waits):
        await asking.ask(BOARD)
    assert waits[:2] == [17.0, WAIT_MAX_S]
    assert 2 <= waits[2] <= 4 <= waits[3] <= 8


async def test_patience_ends() -> None:
    apple = FakeApple()
    apple.session_faults.extend([(503, {})] * 50)
    async with client(apple) as (asking, waits):
        with pytest.raises(RecoveryError, match=f"failed {TRIES} times: HTTP status 503") as caught:
            await asking.ask(BOARD)
    assert "kept" not in (caught.value.hint or "")  # nothing has come
    assert (len(apple.requests), len(waits)) == (TRIES, TRIES - 1)


@pytest.mark.parametrize("status", [302, 400, 401, 403])
async def test_a_service_that_will_not_is_not_asked_twice(status: int) -> None:
    apple = FakeApple()
    apple.session_faults.append((status, {"Location": "/elsewhere"}))
    async with client(apple) as (asking, _):
        with pytest.raises(RecoveryError, match=f"HTTP status {status}"):
            await asking.ask(BOARD)
    assert apple.requests == ["GET /"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda apple: setattr(apple, "no_session", True), "no session"),
        (lambda apple: setattr(apple, "drop_key", "CT"), "CT missing"),
        (lambda apple: setattr(apple, "hosts", frozenset({"oscdn.apple.com"})), "does not belong to Apple"),
    ],
)
async def test_replies_that_cannot_be_used(change: Callable[[FakeApple], None], said: str) -> None:
    apple = FakeApple()
    change(apple)
    async with client(apple) as (asking, _):
        with pytest.raises(RecoveryError, match=said):
            await asking.ask(BOARD)


async def test_a_chunklist_has_a_limit() -> None:
    apple = FakeApple(chunklist=bytes(FILE_BYTES_MAX + 1))
    async with client(apple) as (asking, _):
        answer = await asking.ask(BOARD)
        with pytest.raises(RecoveryError, match="longer than"):
            await asking.fetch_chunklist(answer.chunklist)


async def test_nobody_there(unused_tcp_port: int) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with open_http(1) as http:
        asking = Client(http, Origin(f"http://127.0.0.1:{unused_tcp_port}", frozenset(), test_key().public), sleep)
        with pytest.raises(RecoveryError, match="asking Apple's recovery service failed"):
            await asking.ask(BOARD)
    assert len(waits) == TRIES - 1


async def test_no_cookie_is_kept_between_requests() -> None:
    async with open_http(1) as http:
        assert isinstance(http.cookie_jar, aiohttp.DummyCookieJar)
