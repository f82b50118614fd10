"""Which proxy leads where, and that nobody sees its password."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import ConfigError
from pommel.proxies import NAMES, Proxy, for_request, proxy_for, secrets

APPLE = "https://osrecovery.apple.com/"
P = "http://p:3128"


@pytest.mark.parametrize(
    ("url", "env", "address"),
    [
        (APPLE, {}, None),
        (APPLE, {"https_proxy": P}, P),
        (APPLE, {"HTTPS_PROXY": P}, P),
        (APPLE, {"https_proxy": P, "HTTPS_PROXY": "http://other:1"}, P),
        (APPLE, {"all_proxy": P}, P),
        (APPLE, {"ALL_PROXY": "socks5://s:1", "https_proxy": P}, P),
        (APPLE, {"http_proxy": P}, None),
        ("wss://mesh/agent.ashx", {"https_proxy": P, "http_proxy": "http://other:1"}, P),
        ("http://oscdn.apple.com/x", {"http_proxy": P, "https_proxy": "http://other:1"}, P),
        (APPLE, {"https_proxy": "p:3128"}, P),
        (APPLE, {"https_proxy": "p"}, "http://p:80"),
        (APPLE, {"https_proxy": "HTTP://p:3128/"}, P),
        (APPLE, {"https_proxy": " http://[fd00::1]:3128 "}, "http://[fd00::1]:3128"),
        (APPLE, {"https_proxy": "", "HTTPS_PROXY": P}, None),  # who empties it wants none
    ],
)
def test_the_proxy_of_an_address(url: str, env: dict[str, str], address: str | None) -> None:
    found = proxy_for(url, env)
    assert (found.address if found else None) == address


@pytest.mark.parametrize(
    ("no_proxy", "url", "goes_through"),
    [
        ("*", APPLE, False),
        ("apple.com", APPLE, False),
        (".apple.com", APPLE, False),
        ("*.apple.com", APPLE, False),
        ("OSRECOVERY.Apple.Com.", APPLE, False),
        ("ple.com", APPLE, True),
        ("localhost, apple.com", APPLE, False),
        ("localhost apple.com", APPLE, False),
        ("apple.com:443", APPLE, False),
        ("apple.com:8443", APPLE, True),
        ("10.0.0.0/8", "wss://10.1.2.3/agent.ashx", False),
        ("10.0.0.0/8", "wss://11.1.2.3/agent.ashx", True),
        ("10.1.2.3", "wss://10.1.2.3:4433/agent.ashx", False),
        ("10.1.2.3:4433", "wss://10.1.2.3:4433/agent.ashx", False),
        ("[::1]", "wss://[::1]:4433/agent.ashx", False),
        ("[::1]:4433", "wss://[::1]:4433/agent.ashx", False),
        ("::1", "wss://[::1]/agent.ashx", False),
        ("fd00::/8", "wss://[fd12::1]/agent.ashx", False),
        ("", APPLE, True),
        (",", APPLE, True),
        (".", APPLE, True),
        ("1.2.3.4/99", APPLE, True),
    ],
)
def test_who_is_left_out(no_proxy: str, url: str, goes_through: bool) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        assert (proxy_for(url, {"https_proxy": P, name: no_proxy}) is not None) == goes_through


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "all_proxy",
            "socks5h://ann:hunter22@p:1080",
            "all_proxy names a proxy of the kind socks5h (socks5h://p:1080)",
        ),
        ("https_proxy", "https://ann:hunter22@p", "https_proxy names a proxy of the kind https (https://p)"),
        ("HTTPS_PROXY", "http://ann:hunter22@p:high", "HTTPS_PROXY names no proxy: 'p:high'"),
        ("https_proxy", "http://ann:hunter22@", "https_proxy names no proxy: ''"),
        ("https_proxy", "http://ann:hunter22@a b", "https_proxy names no proxy: 'a b'"),
        ("https_proxy", "http://an%3An:hunter22@p", "the name in https_proxy has a colon"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(variable: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        proxy_for(APPLE, {variable: value})
    assert said in refusal.value.message and refusal.value.hint
    assert "hunter22" not in refusal.value.message + refusal.value.hint


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [
        ("ann:hunter22", "ann", "hunter22"),
        ("ann", "ann", ""),
        ("ann:", "ann", ""),
        ("ann:h%40n:t/r%2F2", "ann", "h@n:t/r/2"),
        ("ann:h@nter/22", "ann", "h@nter/22"),
        ("%C3%A4nn:p%C3%A4ss", "änn", "päss"),
        (":only", "", "only"),
    ],
)
def test_name_and_password(login: str, user: str, password: str) -> None:
    for scheme in ("http://", ""):
        env = {"https_proxy": f"{scheme}{login}@p:3128"}
        found = proxy_for(APPLE, env)
        assert found == Proxy(P, "https_proxy", user, password)
        words = {"Proxy-Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}
        # A server behind TLS never hears of it.
        assert for_request(APPLE, {"A": "b"}, env) == {"proxy": P, "proxy_headers": words, "headers": {"A": "b"}}
        plain = for_request("http://apple.com/", {"A": "b"}, {"http_proxy": env["https_proxy"]})
        assert plain == {"proxy": P, "headers": {"A": "b", **words}}
        assert str(found) == f"{P} (https_proxy)" and "@" not in repr(found)
        assert {login, password} - {""} <= secrets(env)


@given(
    st.sampled_from([name for name in NAMES if name.lower() != "no_proxy"]),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")),
)
def test_any_value_is_a_proxy_or_refused(variable: str, value: str, no_proxy: str) -> None:
    for url in (APPLE, "http://127.0.0.1:8/x"):
        try:
            proxy_for(url, {variable: value, "no_proxy": no_proxy})
        except ConfigError as refusal:
            assert variable in refusal.message
