"""Directories that are safe, and those that are not."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

import pytest

from pommel.errors import NotPermitted, StateError
from pommel.session.directory import safe_directory

STRANGER = 12345


@pytest.fixture
def where(tmp_path: Path) -> PurePosixPath:
    return PurePosixPath(tmp_path / "place")


def opened(where: PurePosixPath) -> list[str]:
    with safe_directory(where, mode=0o711) as directory:
        return directory.names()


def test_made_and_kept(where: PurePosixPath) -> None:
    before = os.umask(0o077)
    try:
        assert opened(where) == []
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(where).st_mode) == 0o711
    (Path(where) / "left").touch()
    assert opened(where) == ["left"]


def test_somebody_elses(where: PurePosixPath) -> None:
    Path(where).mkdir()
    os.chown(where, STRANGER, -1)
    with pytest.raises(NotPermitted, match=f"uid {STRANGER}"):
        opened(where)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o757])
def test_one_that_others_may_write_to(where: PurePosixPath, mode: int) -> None:
    Path(where).mkdir()
    os.chmod(where, mode)
    with pytest.raises(NotPermitted, match="written by other users") as refused:
        opened(where)
    assert refused.value.hint


@pytest.mark.parametrize("squatter", ["link", "dangling link", "file"])
def test_squatted(where: PurePosixPath, tmp_path: Path, squatter: str) -> None:
    if squatter == "file":
        Path(where).touch()
    else:
        target = tmp_path / "target"
        if squatter == "link":
            target.mkdir()
        Path(where).symlink_to(target)
    with pytest.raises(NotPermitted, match="not a directory of Pommel"):
        opened(where)


def test_a_parent_that_others_may_write_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(NotPermitted, match="written by other users"):
        opened(PurePosixPath(tmp_path / "x"))
    tmp_path.chmod(0o1777)
    assert opened(PurePosixPath(tmp_path / "x")) == []


@pytest.mark.parametrize(("group", "fine"), [(1, True), (0, True), (100, False)])
def test_a_parent_that_a_group_may_write_to(tmp_path: Path, group: int, fine: bool) -> None:
    tmp_path.chmod(0o775)
    os.chown(tmp_path, -1, group)
    if fine:
        assert opened(PurePosixPath(tmp_path / "x")) == []
    else:
        with pytest.raises(NotPermitted, match="written by other users"):
            opened(PurePosixPath(tmp_path / "x"))


def test_no_parent(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no"):
        opened(PurePosixPath(tmp_path / "no" / "x"))


def test_files_have_their_mode_and_owner_and_replace_what_was_there(where: PurePosixPath) -> None:
    with safe_directory(where, mode=0o711) as directory:
        path = directory.path / "token"
        outside = directory.path.with_name("outside")
        outside.write_text("precious")
        path.symlink_to(outside)
        directory.write("token", b"secret", mode=0o400, uid=STRANGER)
        found = path.lstat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, stat.S_ISREG(found.st_mode)) == (0o400, STRANGER, True)
        assert path.read_bytes() == b"secret"
        assert outside.read_text() == "precious"
        assert directory.names() == ["token"]


def test_a_directory_in_a_files_place_is_moved_aside_whole(where: PurePosixPath) -> None:
    with safe_directory(where, mode=0o711) as directory:
        for _ in range(2):
            (directory.path / "token").mkdir()
            (directory.path / "token" / "somebodys").touch()
            directory.write("token", b"x", mode=0o600)
            directory.remove("token")
        assert directory.names() == ["token.squatted-1", "token.squatted-2"]
        assert (directory.path / "token.squatted-1" / "somebodys").exists()


def test_remove_takes_files_and_links_and_no_directory(where: PurePosixPath) -> None:
    with safe_directory(where, mode=0o711) as directory:
        (directory.path / "link").symlink_to("/etc")
        assert directory.remove("link")
        assert not directory.remove("link")
        (directory.path / "folder").mkdir()
        with pytest.raises(StateError, match="is a directory"):
            directory.remove("folder")
        assert Path("/etc").is_dir()


def test_moved_away_meanwhile_it_is_still_the_same(where: PurePosixPath) -> None:
    with safe_directory(where, mode=0o711) as directory:
        moved = directory.path.rename(directory.path.with_name("moved"))
        Path(where).mkdir()
        directory.write("f", b"x", mode=0o600)
        assert [child.name for child in moved.iterdir()] == ["f"]
        assert list(Path(where).iterdir()) == []
