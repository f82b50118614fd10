"""The three doors: Host, Origin and token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.console.guard import authority, is_our_host, is_our_origin, is_token, new_token


def test_tokens_are_long_and_differ() -> None:
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50
    assert all(len(token) == 43 and token.replace("-", "").replace("_", "").isalnum() for token in tokens)


def test_only_the_whole_token_is_the_token() -> None:
    token = new_token()
    assert is_token(token, token)
    for given_token in (None, "", token[:-1], token + "x", token.swapcase(), "é"):
        assert not is_token(given_token, token)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8600", "localhost:8600", "LOCALHOST:8600", "[::1]:8600", "127.1.2.3:8600", "192.168.1.5:8600",
     "mac.lan:8600", "mac.lan", "MAC.lan:1", "tunnel.example:9000"],
)  # fmt: skip
def test_hosts_that_are_ours(host: str) -> None:
    assert is_our_host(host, 8600, ["mac.lan", "tunnel.example:9000"])


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example:8600", "127.0.0.1", "127.0.0.1:8601", "localhost.evil.example:8600", "localhost",
     "127.0.0.1.evil.example:8600", "evil@127.0.0.1:8600", "127.0.0.1:8600/", "127.0.0.1:x", "127.0.0.1:99999",
     "[::1:8600", "mac.lan.evil.example:8600", "tunnel.example:8600", ":8600", "127.0.0.1:8600 "],
)  # fmt: skip
def test_hosts_that_are_not(host: str | None) -> None:
    assert not is_our_host(host, 8600, ["mac.lan", "tunnel.example:9000"])


def test_the_web_s_own_port_needs_no_number() -> None:
    assert is_our_host("127.0.0.1", 80)


@given(st.text(max_size=30), st.integers(1, 65535))
def test_law_any_host_header_is_judged(host: str, port: int) -> None:
    assert is_our_host(host, port) in (True, False)


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:8600", "https://127.0.0.1:8600", "http://127.0.0.1:8600"])
def test_origins_that_are_ours(origin: str | None) -> None:
    assert is_our_origin(origin, "127.0.0.1:8600")


@pytest.mark.parametrize(
    "origin",
    ["", "null", "http://evil.example", "http://127.0.0.1:8601", "http://127.0.0.1", "http://localhost:8600",
     "file://127.0.0.1:8600", "127.0.0.1:8600", "http://127.0.0.1:8600.evil.example"],
)  # fmt: skip
def test_origins_that_are_not(origin: str) -> None:
    assert not is_our_origin(origin, "127.0.0.1:8600")


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("0.0.0.0", "127.0.0.1:80"),
        ("::", "[::1]:80"),
        ("::1", "[::1]:80"),
        ("mac.lan", "mac.lan:80"),
    ],
)
def test_authority(host: str, written: str) -> None:
    assert authority(host, 80) == written


@pytest.mark.parametrize(
    "host",
    [
        "[::1]x:8600",
        "[::1].evil.example:8600",
        "127.0.0.1\n:8600",
        "1\t27.0.0.1:8600",
        "local\rhost:8600",
        "[127.0.0.1:8600",
    ],
)
def test_a_host_is_the_whole_of_it(host: str) -> None:
    assert not is_our_host(host, 8600)
