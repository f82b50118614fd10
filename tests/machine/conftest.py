"""Fixtures of tests of machines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pommel.paths import Home

from .bare import short_home


@pytest.fixture
def home() -> Iterator[Home]:
    """An empty home, with a path that leaves room for sockets."""
    with short_home() as made:
        yield made
