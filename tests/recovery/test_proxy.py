"""Apple's servers through a proxy."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from connect_proxy import Proxy
from pommel.errors import ConfigError, RecoveryError
from pommel.proxies import NAMES
from pommel.recovery.catalog import Board
from pommel.recovery.client import TRIES
from pommel.recovery.download import download

from .apple import FakeApple

BOARD = Board("Mac-27AD2F918AE68F61")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


async def sleep(seconds: float) -> None:
    pass


async def fetch(apple: FakeApple, target: Path) -> None:
    async with apple.running():
        await download(BOARD, target, origin=apple.origin, sleep=sleep)


@pytest.mark.parametrize("login", [None, "änn:h@n t/22"])
async def test_an_image_comes_through_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str | None
) -> None:
    apple = FakeApple()
    async with Proxy(login).running() as proxy:
        monkeypatch.setenv("http_proxy", proxy.address_for("%C3%A4nn:h%40n%20t%2F22") if login else proxy.address)
        await fetch(apple, tmp_path / "BaseSystem.dmg")
    assert (tmp_path / "BaseSystem.dmg").read_bytes() == apple.image
    assert proxy.asked[:2] == [
        f"GET http://127.0.0.1:{apple.port}/",
        f"POST http://127.0.0.1:{apple.port}/InstallationPayload/RecoveryImage",
    ]
    assert len(proxy.asked) == len(apple.requests)


async def test_who_is_left_out_is_asked_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apple = FakeApple()
    async with Proxy().running() as proxy:
        monkeypatch.setenv("http_proxy", proxy.address)
        monkeypatch.setenv("no_proxy", "127.0.0.0/8")
        await fetch(apple, tmp_path / "BaseSystem.dmg")
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("typed", "said"), [("", "asks for a name and a password"), ("ann:wrong22@", "refuses the name and password")]
)
async def test_a_proxy_that_wants_another_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, said: str
) -> None:
    async with Proxy("ann:hunter22").running() as proxy:
        monkeypatch.setenv("http_proxy", f"http://{typed}127.0.0.1:{proxy.port}")
        with pytest.raises(RecoveryError) as refusal:
            await fetch(FakeApple(), tmp_path / "BaseSystem.dmg")
    assert f"the proxy {proxy.address} (http_proxy) {said}" in refusal.value.message
    assert refusal.value.hint and "no_proxy=127.0.0.1" in refusal.value.hint
    assert "wrong22" not in refusal.value.message + refusal.value.hint
    assert len(proxy.asked) == 1  # asking again would not help


async def test_tls_goes_by_connect_and_a_refusal_is_the_proxys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apple = FakeApple()
    async with Proxy(answer=b"HTTP/1.1 403 \x1b[2JNo\r\nContent-Length: 0\r\n\r\n").running() as proxy:
        monkeypatch.setenv("https_proxy", proxy.address)
        with pytest.raises(RecoveryError) as refusal:
            await download(BOARD, tmp_path / "BaseSystem.dmg", sleep=sleep)
    assert (
        refusal.value.message == f"the proxy {proxy.address} (https_proxy) refuses the connection: status 403 Forbidden"
    )
    assert proxy.asked == ["CONNECT osrecovery.apple.com:443"] and apple.requests == []


@pytest.mark.parametrize(("host", "why"), [("127.0.0.1", "Connection refused"), ("proxy.invalid", "")])
async def test_a_proxy_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, why: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"{host}:{taken.getsockname()[1]}"
        monkeypatch.setenv("all_proxy", f"http://ann:hunter22@{address}")
        with pytest.raises(RecoveryError) as refusal:
            await fetch(FakeApple(), tmp_path / "BaseSystem.dmg")
    assert f"failed {TRIES} times: the proxy http://{address} (all_proxy) cannot be connected to: {why}" in str(
        refusal.value
    )
    assert "hunter22" not in str(refusal.value)


async def test_socks_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://p:1080")
    with pytest.raises(ConfigError, match="ALL_PROXY names a proxy of the kind socks5"):
        await fetch(FakeApple(), tmp_path / "BaseSystem.dmg")
