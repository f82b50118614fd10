"""Fixtures that more than one room uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from driver import Shell


@pytest.fixture
def shell() -> Iterator[Shell]:
    """An empty home and the `pommel` command in it."""
    made = Shell()
    yield made
    made.close()
