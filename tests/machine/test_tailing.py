"""Files that grow, are turned over, and stay bounded."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.machine import tailing


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 9), st.integers(1, 20))
def test_offsets_are_where_the_lines_are(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, count: int, block: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tailing, "_BLOCK", block)
        found = tailing.read_end(path, count)
    assert found.size == len(data) and len(found.lines) <= count
    for offset, line in found.lines:
        assert data[offset : offset + len(line)] == line
        assert offset == 0 or data[offset - 1 : offset] == b"\n"


def test_no_file(tmp_path: Path) -> None:
    assert tailing.read_end(tmp_path / "log", 5) == tailing.Written()
    assert tailing.size(tmp_path / "log") == 0
    assert not tailing.turn_over(tmp_path / "log", 1)
    tailing.put_aside(tmp_path / "log", 1)


def test_a_file_in_use_goes_on_at_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        assert not tailing.turn_over(path, 100)
        writer.write(b"y" * 100)
        assert tailing.turn_over(path, 100)
        assert tailing.older(path).read_bytes() == b"x" * 100 + b"y" * 100
        writer.write(b"after\n")
        assert path.read_bytes() == b"after\n", "no hole where the rest has been"
        writer.write(b"z" * 194 + b"end")
        assert tailing.turn_over(path, 100)
    assert tailing.older(path).read_bytes() == b"er\n" + b"z" * 194 + b"end", "its end, of twice the limit"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["log", "log.1"]


def test_two_at_once_turn_it_over_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 200)
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not tailing.turn_over(path, 100)
    assert tailing.turn_over(path, 100)


def test_without_room_for_a_copy_it_may_grow_for_a_while(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tailing.older(path).mkdir()  # no copy can be put there
    path.write_bytes(b"x" * 800)
    assert not tailing.turn_over(path, 100)
    assert path.stat().st_size == 800
    path.write_bytes(b"x" * 801)
    assert tailing.turn_over(path, 100)
    assert path.stat().st_size == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["log", "log.1"]
