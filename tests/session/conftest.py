"""The scene, for every file that wants one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from session.scene import Scene, a_scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    with a_scene() as made:
        yield made
