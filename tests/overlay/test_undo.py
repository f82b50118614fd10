"""The record that puts a checkout back, over errors and over deaths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from overlay.repos import sh
from pommel.errors import UpstreamError
from pommel.overlay.undo import UPDATE, all_or_nothing, at_work, ours, place, recover


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    sh(folder, "init", "--quiet")
    (folder / "a").write_text("a")
    (folder / "a").chmod(0o755)
    sh(folder, "add", "--all")
    sh(folder, "commit", "--quiet", "-m", "x")
    return folder


def spoil(checkout: Path) -> None:
    place(checkout, "a", b"other", 0o644)
    place(checkout, "new/b", b"b", 0o644)


def test_kept_when_it_ends_well(checkout: Path) -> None:
    with all_or_nothing(checkout, ["a", "new/b"]):
        spoil(checkout)
    assert (checkout / "a").read_text() == "other"
    assert list(ours(checkout).iterdir()) == []
    assert not recover(checkout)


def test_put_back_when_it_does_not(checkout: Path) -> None:
    with pytest.raises(KeyboardInterrupt), all_or_nothing(checkout, ["a", "new/b"]):
        spoil(checkout)
        raise KeyboardInterrupt
    assert sh(checkout, "status", "--porcelain") == ""
    assert not (checkout / "new").exists()
    assert list(ours(checkout).iterdir()) == []


def test_put_back_after_a_death_by_whoever_comes_next(checkout: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with at_work(checkout), all_or_nothing(checkout, ["a", "new/b", "c"], record=UPDATE):
            place(checkout, "c", b"c", 0o644)
            with all_or_nothing(checkout, ["a", "new/b"]):
                spoil(checkout)
                os._exit(9)
    os.waitpid(pid, 0)
    assert (checkout / "a").read_text() == "other"
    with at_work(checkout):
        assert sh(checkout, "status", "--porcelain") == ""
    assert (checkout / "a").stat().st_mode & 0o777 == 0o755
    assert not (checkout / "c").exists()
    assert list(ours(checkout).iterdir()) == []


def test_a_death_while_the_record_is_written_changes_nothing(checkout: Path) -> None:
    (ours(checkout) / ".undo-step.building.x").mkdir(parents=True)
    assert not recover(checkout)
    assert list(ours(checkout).iterdir()) == []


def test_files_that_are_not_the_checkouts(checkout: Path, tmp_path: Path) -> None:
    (checkout / "link").symlink_to(tmp_path)
    for name in ("link/x", "link"):
        with pytest.raises(UpstreamError, match=r"cannot be placed"):
            place(checkout, name, b"x", 0o644)
    assert not (tmp_path / "x").exists()
