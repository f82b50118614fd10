"""Real processes that inherited a mark, and their end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import inheritors
from waits import wait_until

# Each starts another, in a session of its own, and waits: the one at hand, one behind it, one whose parent is gone.
FAMILY = "setsid sleep 600 & (setsid sleep 600 &) ; exec sleep 600"


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[bytes]:
    made = os.fsencode(f"MARK_OF_A_TEST={tmp_path}")
    yield made
    inheritors.end(lambda environ: made in environ.split(b"\0"), 1)


def test_all_that_inherited_it_are_found_and_ended(mark: bytes) -> None:
    def wanted(environ: bytes) -> bool:
        return mark in environ.split(b"\0")

    name, _, value = os.fsdecode(mark).partition("=")
    assert inheritors.pids(wanted) == [] and inheritors.end(wanted, 1) == 0
    with subprocess.Popen(["sh", "-c", FAMILY], env={**os.environ, name: value}) as first:
        stranger = subprocess.Popen(["sleep", "600"])
        wait_until(lambda: len(inheritors.pids(wanted)) == 3 and _names(inheritors.pids(wanted)) == {"sleep"})
        assert first.pid in inheritors.pids(wanted) and stranger.pid not in inheritors.pids(wanted)
        assert inheritors.end(wanted, 5) == 3
        assert inheritors.pids(wanted) == []
    assert stranger.poll() is None, "who has no mark is left alone"
    stranger.kill()
    stranger.wait()


def _names(pids: list[int]) -> set[str]:
    return {Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids}
