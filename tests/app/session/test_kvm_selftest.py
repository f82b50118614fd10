"""The self-test, on a system that works and on ones that do not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from clipboard.conftest import x_server
from driver import Shell
from pommel.app.session import kvm_selftest
from pommel.errors import StateError


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with x_server() as name:
        yield name


def test_each_piece_is_tried_and_said(shell: Shell, display: str) -> None:
    shell.env["DISPLAY"] = display
    told = {one["piece"]: one for one in shell.json("kvm", "selftest")["checks"]}
    assert list(told) == [
        "system", "libraries", "session", "launcher", "permissions", "screen", "socket, peer and agent",
    ]  # fmt: skip
    for piece in ("system", "libraries", "permissions", "screen", "socket, peer and agent"):
        assert told[piece]["ok"], told[piece]
    assert re.match(r"shows X11 display :\d+; 320×200 in \d+ ms", told["screen"]["text"])
    for piece in ("session", "launcher"):  # what a test run has none of may be missing, and is said
        assert told[piece]["ok"] or told[piece]["mend"]
    assert shell.processes() == []


def test_what_fails_keeps_nothing_else_from_being_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def no() -> str:
        raise StateError("it is broken", hint="mend it")

    async def broken() -> str:
        raise OSError("gone")

    monkeypatch.setattr(kvm_selftest, "_launcher", no)
    monkeypatch.setattr(kvm_selftest, "_whole", broken)
    monkeypatch.setattr(kvm_selftest, "_screen", broken)
    checks = {one.piece: one for one in kvm_selftest.selftest()}
    assert (checks["launcher"].ok, checks["launcher"].text, checks["launcher"].mend) == (
        False,
        "it is broken",
        "mend it",
    )
    assert (checks["screen"].ok, checks["screen"].text) == (False, "gone")
    assert checks["libraries"].ok
