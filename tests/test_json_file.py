"""JSON files of Pommel's own: whole or not at all, and a damaged one counts as none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pommel import json_file


def test_what_was_written_is_read_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.json"
    before = os.umask(0)
    try:
        json_file.write(path, {"a": [1, "ü"]})
    finally:
        os.umask(before)
    assert json_file.read_object(path) == {"a": [1, "ü"]}
    assert path.stat().st_mode & 0o777 == 0o600
    json_file.write(path, [])
    assert json_file.read_object(path) == {}, "it holds no object"


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b'{"n": "x"}',
        b'{"n": []}',
        b'{"m": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 5000,
    ],
    ids=range(11),
)
def test_a_damaged_file_counts_as_none(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(damaged)
    assert json_file.read_or(path, lambda found: int(found["n"]), -1) == -1


def test_no_file_and_what_is_none(tmp_path: Path) -> None:
    assert json_file.read_or(tmp_path / "none", lambda found: found, "otherwise") == "otherwise"
    assert json_file.read_object(tmp_path) == {}
    (tmp_path / "loop").symlink_to("loop")
    assert json_file.read_object(tmp_path / "loop") == {}


def test_a_fault_of_ours_is_not_hidden(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    json_file.write(path, {})
    with pytest.raises(ZeroDivisionError):
        json_file.read_or(path, lambda found: 1 // len(found), 0)
