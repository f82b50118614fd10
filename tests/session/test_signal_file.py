"""Exactly our own file."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from pommel.errors import StateError
from pommel.session.directory import SafeDirectory, safe_directory
from pommel.session.signal_file import SignalFile


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[SafeDirectory]:
    with safe_directory(PurePosixPath(tmp_path / "signals"), mode=0o755) as made:
        yield made


def test_up_and_down(directory: SafeDirectory) -> None:
    warned: list[str] = []
    signal = SignalFile(directory, "session-active", warned.append)
    for _ in range(2):
        signal.up()
        path = directory.path / "session-active"
        assert path.read_bytes() == b"1"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert directory.names() == ["session-active"]
    for _ in range(2):
        signal.down()
        assert directory.names() == []
    assert directory.path.is_dir()
    assert warned == []


@pytest.mark.parametrize("left", ["session-active", ".session-active.new"])
def test_what_a_killed_daemon_left(directory: SafeDirectory, left: str) -> None:
    (directory.path / left).touch()
    SignalFile(directory, "session-active", lambda _: None).down()
    assert directory.names() == []


def test_strangers_stay_and_are_spoken_of_once(directory: SafeDirectory) -> None:
    warned: list[str] = []
    signal = SignalFile(directory, "session-active", warned.append)
    (directory.path / "session-active.old").touch()
    (directory.path / "folder").mkdir()
    signal.up()
    signal.down()
    assert directory.names() == ["folder", "session-active.old"]
    assert len(warned) == 2
    assert signal.strangers() == ["folder", "session-active.old"]


def test_a_directory_of_that_name_is_not_ours_to_remove(directory: SafeDirectory) -> None:
    (directory.path / "session-active").mkdir()
    with pytest.raises(StateError, match="is a directory"):
        SignalFile(directory, "session-active", lambda _: None).down()
