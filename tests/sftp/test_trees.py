"""Trees on a real file system, through OpenSSH's own SFTP server; and a guest that names what is no name."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from pommel import process
from pommel.errors import CommandFailed
from pommel.sftp.codec import Attributes
from pommel.sftp.session import sftp_session
from pommel.sftp.tree import EntryKind, FilesError, NameCount
from pommel.sftp.trees import bring, look_through_guest, look_through_host, readable, send

from .servers import PLAIN_USER, SFTP_SERVER
from .test_session import ssh

__all__ = ["ssh"]


def nothing(size: int) -> None:
    pass


@pytest.fixture
def top(tmp_path: Path) -> Path:
    made = tmp_path / "top"
    (made / "sub/empty").mkdir(parents=True)
    (made / "a").write_bytes(b"aa")
    (made / "sub/b").write_bytes(b"bbb")
    (made / "sub/b").chmod(0o4711)
    (made / "sub/in").symlink_to("../a")
    (made / "sub/up").symlink_to("../../elsewhere")
    (made / "out").symlink_to("/etc/passwd")
    os.mkfifo(made / "fifo")
    (made / "sub").chmod(0o500)
    return made


async def test_both_sides_see_the_same(ssh: list[str], top: Path) -> None:
    here = look_through_host([os.fsencode(top)])
    async with sftp_session(ssh) as session:
        assert await look_through_guest(session, [os.fsencode(top)]) == here
    assert [(entry.kind, entry.path) for entry in here.entries] == [
        (EntryKind.FOLDER, b"top"), (EntryKind.FILE, b"top/a"), (EntryKind.FOLDER, b"top/sub"), (EntryKind.FILE, b"top/sub/b"),
        (EntryKind.FOLDER, b"top/sub/empty"), (EntryKind.LINK, b"top/sub/in"),
    ]  # fmt: skip
    assert (here.left_out, here.total) == (3, 5)


@pytest.mark.parametrize("way", ["bring", "send"])
async def test_two_of_a_name_and_a_link_by_itself(ssh: list[str], top: Path, tmp_path: Path, way: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a").symlink_to(top / "sub/b")  # it stands for what it leads to
    plan = look_through_host([os.fsencode(top / "a"), os.fsencode(tmp_path / "other/a")])
    target = tmp_path / "target"
    target.mkdir()
    moved: list[int] = []
    async with sftp_session(ssh) as session:
        if way == "bring":
            await bring(session, plan, target, moved.append)
        else:
            await send(session, plan, os.fsencode(target), moved.append)
    assert sum(moved) == plan.total == 5
    assert (target / "a").read_bytes() == b"aa" and (target / "2/a").read_bytes() == b"bbb"
    assert not (target / "2/a").is_symlink()


@pytest.mark.parametrize("way", ["bring", "send"])
async def test_permissions(ssh: list[str], top: Path, tmp_path: Path, way: str) -> None:
    """A folder stays one that its owner can write to, and nothing comes with another's rights."""
    plan = look_through_host([os.fsencode(top)])
    target = tmp_path / "target"
    target.mkdir()
    async with sftp_session(ssh) as session:
        if way == "bring":
            await bring(session, plan, target, nothing)
        else:
            await send(session, plan, os.fsencode(target), nothing)
    assert stat.S_IMODE((target / "top/sub").stat().st_mode) == 0o700
    assert stat.S_IMODE((target / "top/sub/b").stat().st_mode) == 0o711
    assert (target / "top/sub/in").readlink() == Path("../a")
    assert not (target / "top/sub/up").is_symlink()


@pytest.fixture
def plain_ssh(ssh: list[str]) -> list[str]:
    """A server whose user may not read all."""
    program = Path(ssh[0])
    program.write_text(program.read_text().replace(SFTP_SERVER, " ".join([*PLAIN_USER, SFTP_SERVER])))
    return ssh


@pytest.fixture
def guarded(top: Path) -> Path:
    """The same, with a file and a folder that may not be read in its middle."""
    (top / "b").write_bytes(b"secret" * 10)
    (top / "b").chmod(0)
    (top / "c").mkdir(mode=0)
    (top / "d").write_bytes(b"dd")
    return top


async def test_what_may_not_be_read_on_the_guest_is_skipped_and_named(
    plain_ssh: list[str], guarded: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    moved: list[int] = []
    async with sftp_session(plain_ssh) as session:
        plan = await look_through_guest(session, [os.fsencode(guarded)])
        assert plan.unread == (os.fsencode(guarded / "c"),) and plan.total == 67
        assert await bring(session, plan, target, moved.append) == (os.fsencode(guarded / "b"),)
        assert sum(moved) == plan.total, "progress comes to its end"
        assert {path.name for path in (target / "top").iterdir()} == {"a", "d", "sub"}
        assert (target / "top/sub/b").read_bytes() == b"bbb"
        looked = await readable(session, plan)
        assert looked.total == 7 and looked.unread == (os.fsencode(guarded / "c"), os.fsencode(guarded / "b"))
        beside = await look_through_guest(session, [os.fsencode(guarded / name) for name in ("a", "b", "d")])
        assert beside.tops == (b"a", b"d") and beside.unread == (os.fsencode(guarded / "b"),)
        for alone in ("b", "c"):  # nothing is not copied in silence
            with pytest.raises(FilesError, match="permission denied") as refusal:
                plan = await look_through_guest(session, [os.fsencode(guarded / alone)])
                await readable(session, plan)
            assert "full disk access" in (refusal.value.hint or "")


def test_what_may_not_be_read_on_the_host_is_skipped_and_named(guarded: Path) -> None:
    look = (
        "import sys; from pommel.sftp.trees import look_through_host\n"
        "for path in sys.argv[1:]:\n    plan = look_through_host([path.encode()]); print(plan.unread, plan.total)"
    )
    python = [*PLAIN_USER, sys.executable, "-P", "-c", look]
    done = process.run([*python, guarded])
    names = (os.fsencode(guarded / "b"), os.fsencode(guarded / "c"))
    assert done.text.strip() == f"{names} 7"
    for alone in ("b", "c"):
        with pytest.raises(CommandFailed, match="could not read what was copied: Permission denied"):
            process.run([*python, guarded / alone])


@pytest.mark.parametrize("way", ["bring", "send"])
async def test_what_is_gone_by_now_is_skipped_and_named(ssh: list[str], top: Path, tmp_path: Path, way: str) -> None:
    plan, target = look_through_host([os.fsencode(top)]), tmp_path / "target"
    target.mkdir()
    (top / "a").unlink()
    async with sftp_session(ssh) as session:
        if way == "bring":
            unread = await bring(session, plan, target, nothing)
        else:
            unread = await send(session, plan, os.fsencode(target), nothing)
    assert unread == (os.fsencode(top / "a"),) and plan.without(unread).files == 1
    assert not (target / "top/a").exists() and (target / "top/sub/b").read_bytes() == b"bbb"


def test_what_is_gone_on_the_host() -> None:
    with pytest.raises(FilesError, match="No such file"):
        look_through_host([b"/nonexistent"])


class Lying:
    """A session with a guest that has a folder with one file, of a name of its choice."""

    def __init__(self, name: bytes) -> None:
        self.name = name

    async def look(self, path: bytes, *, follow: bool = False) -> Attributes:
        return Attributes(0, stat.S_IFDIR | 0o755, 0)

    async def folder(self, path: bytes, listed: NameCount) -> list[tuple[bytes, Attributes]]:
        return [(self.name, Attributes(1, stat.S_IFREG | 0o644, 0))]


@pytest.mark.parametrize("name", [b"../../.bashrc", b"/etc/passwd", b"..", b"", b"a\0b"])
async def test_a_guest_that_names_what_is_no_name(name: bytes) -> None:
    with pytest.raises(FilesError, match="invalid file name"):
        await look_through_guest(Lying(name), [b"/folder"])  # type: ignore[arg-type]


async def test_a_guest_that_lists_a_path_whose_end_is_no_name() -> None:
    with pytest.raises(FilesError, match="invalid file name"):
        await look_through_guest(Lying(b"x"), [b"/folder/.."])  # type: ignore[arg-type]


async def test_a_folder_in_itself_without_end() -> None:
    class Endless(Lying):
        async def folder(self, path: bytes, listed: NameCount) -> list[tuple[bytes, Attributes]]:
            return [(b"again", Attributes(0, stat.S_IFDIR | 0o755, 0))]

    with pytest.raises(FilesError, match="nested folders"):
        await look_through_guest(Endless(b""), [b"/folder"])  # type: ignore[arg-type]


async def test_what_became_something_else_on_the_host(ssh: list[str], tmp_path: Path) -> None:
    path, target = tmp_path / "file", tmp_path / "target"
    path.write_bytes(b"x")
    target.mkdir()
    plan = look_through_host([os.fsencode(path)])
    path.unlink()
    os.mkfifo(path)
    async with sftp_session(ssh) as session:
        with pytest.raises(FilesError, match="was replaced"):
            await send(session, plan, os.fsencode(target), nothing)
        path.unlink()
        with pytest.raises(FilesError, match="could not read"):
            await send(session, plan, os.fsencode(target), nothing)
        with pytest.raises(FilesError, match="could not store the files"):
            await bring(session, look_through_host([os.fsencode(target)]), tmp_path / "nowhere", nothing)
