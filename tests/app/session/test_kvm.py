"""Where `pommel kvm serve` is told to listen."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolation import patient
from pommel.app.session import kvm
from pommel.app.session.kvm import Listen, default_source, parse_listen
from pommel.app.session.kvm_agent import find_screen
from pommel.errors import UsageError
from pommel.screen.seams import Update
from pommel.session import display
from screen.x_server import x_server
from sway import Sway

PORTS = st.integers(0, 65535)


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("8600", Listen(None, 8600)),
        (":8600", Listen(None, 8600)),
        ("0.0.0.0", Listen("0.0.0.0")),
        ("mac.example:1", Listen("mac.example", 1)),
        ("[::1]", Listen("::1")),
        ("[fe80::1%eth0]:80", Listen("fe80::1%eth0", 80)),
    ],
)
def test_it_is_written_as_people_write_it(text: str, listen: Listen) -> None:
    assert parse_listen(text) == listen


@given(PORTS, st.ip_addresses())
def test_every_address_comes_through(port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    text = f"[{address}]" if address.version == 6 else str(address)
    assert parse_listen(f"{text}:{port}") == Listen(str(address), port)


@pytest.mark.parametrize("text", ["", ":", "a:", "::1", "::1:8600", "a:b", "a:65536", "a:-1", "[::1", "a:1:2", "a:١"])
def test_what_is_no_address_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_listen(text)
    assert "127.0.0.1:8600" in (refusal.value.hint or "")


async def test_a_wayland_session_is_found_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    sway = Sway()
    try:
        env = {"XDG_RUNTIME_DIR": str(sway.runtime), "WAYLAND_DISPLAY": sway.display}
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        assert default_source(None) == "wayland"
        assert default_source(":3") == "x11"
        said: list[str] = []
        with x_server() as other:  # a program's own, such as a test run's: it is not the session
            monkeypatch.setattr(display, "_environments", lambda uid: [("", {"DISPLAY": other.name})])
            connection = await find_screen(env, said.append, patience_s=0)
            assert said == [f"shows Wayland display {sway.runtime / sway.display} (wlr-screencopy)"]
            assert isinstance(await asyncio.wait_for(connection.source.next_update(), patient(10)), Update)
            await connection.close()
        os.chown(sway.runtime / sway.display, os.geteuid(), -1)  # root's sway is nobody's, and only our own is found
        for name in ("WAYLAND_DISPLAY", "DISPLAY"):  # as over SSH
            monkeypatch.delenv(name, raising=False)
        assert default_source(None) == "wayland"
        async with contextlib.AsyncExitStack() as until:
            served, shown = await kvm._connect("wayland", None, until)
            assert shown == str(sway.runtime / sway.display)
            assert isinstance(await asyncio.wait_for(served.source.next_update(), patient(10)), Update)
    finally:
        sway.close()
