"""Both folders, through OpenSSH's own SFTP server; what the whole sync does with them is test_carrying's."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pommel.clipboard.shelves import GuestShelf, HostShelf
from pommel.errors import BusyError
from pommel.sftp.session import sftp_session
from pommel.sftp.tree import CopyPlan, FilesError
from pommel.sftp.trees import look_through_host
from sftp.test_session import ssh

__all__ = ["ssh"]


def nothing(size: int) -> None:
    pass


def plan_of(tmp_path: Path, size: int) -> CopyPlan:
    path = tmp_path / f"of {size}"
    path.write_bytes(b"x" * size)
    return look_through_host([os.fsencode(path)])


def sizes(folder: Path) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in sorted(folder.iterdir()) if path.name != ".lock"]


async def test_the_hosts(ssh: list[str], tmp_path: Path) -> None:
    shelf = HostShelf(tmp_path / "cache/mac", 100)
    (tmp_path / "cache/mac/.0123456789ab-7.part/deep").mkdir(parents=True)
    with shelf.held():
        assert stat.S_IMODE(shelf.folder.stat().st_mode) == 0o700
        assert sizes(shelf.folder) == []
        with pytest.raises(BusyError, match="another sync"), HostShelf(shelf.folder, 1).held():
            pass
        async with sftp_session(ssh) as session:
            for size in (60, 30, 50, 200):
                plan = plan_of(tmp_path, size)
                copy = shelf.reserve(plan)
                assert not shelf.has(copy)
                await shelf.bring(session, plan, copy, nothing)
                assert shelf.has(copy)
                (path,) = shelf.paths(copy, plan)
                assert Path(os.fsdecode(path)).stat().st_size == size and shelf.owner_of(path) == copy
        # 30 and 50 fitted together; 200 is more than all that there may be, and is there because it was asked for.
        assert sizes(shelf.folder) == [50, 200]
        assert shelf.owner_of(b"/elsewhere/x") is None and shelf.owner_of(os.fsencode(shelf.folder) + b"/x/y") is None


async def test_a_copy_that_fails_leaves_nothing(ssh: list[str], tmp_path: Path) -> None:
    shelf, plan = HostShelf(tmp_path / "cache", 100), plan_of(tmp_path, 5)
    (tmp_path / "of 5").unlink()
    with shelf.held():
        async with sftp_session(ssh) as session:
            with pytest.raises(FilesError):
                await shelf.bring(session, plan, shelf.reserve(plan), nothing)
        assert sizes(shelf.folder) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(FilesError, match="cannot be created: Not a directory"),
        HostShelf(tmp_path / "file/x", 1).held(),
    ):
        pass


async def test_the_guests(ssh: list[str], tmp_path: Path) -> None:
    caches = os.fsencode(tmp_path / "there")
    shelf = GuestShelf(ssh, caches, Path("/owner"), 100)
    other = GuestShelf(ssh, caches, Path("/another sync"), 100)
    await shelf.sweep()  # there is nothing yet
    here = Path(os.fsdecode(shelf.folder))
    assert other.folder != shelf.folder and not here.exists()
    for size in (60, 30, 50, 200):
        async with shelf.opened() as session:
            plan = plan_of(tmp_path, size)
            copy, unread = await shelf.send(session, plan, nothing)
            assert not unread and await shelf.has(session, copy)
            (path,) = shelf.paths(copy, plan)
            assert Path(os.fsdecode(path)).stat().st_size == size and shelf.owner_of(path) == copy
    assert sizes(here) == [50, 200]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (here, here.parent, here.parent.parent)] == [0o700] * 3
    (here / ".0123456789ab-7.part/deep").mkdir(parents=True)
    await other.sweep()
    assert len(list(here.iterdir())) == 3
    await shelf.sweep()
    assert sizes(here) == [50, 200]


async def test_a_sending_that_fails_leaves_nothing(ssh: list[str], tmp_path: Path) -> None:
    shelf, plan = GuestShelf(ssh, os.fsencode(tmp_path / "there"), Path("/owner"), 100), plan_of(tmp_path, 5)
    (tmp_path / "of 5").unlink()
    async with shelf.opened() as session:
        with pytest.raises(FilesError):
            await shelf.send(session, plan, nothing)
    assert sizes(Path(os.fsdecode(shelf.folder))) == []
