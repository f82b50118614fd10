"""Fixtures of the menu's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pommel.app.workspace import Workspace

from .stage import stage


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with stage() as made:
        yield made
