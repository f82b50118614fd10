"""Files of a real SFTP server, as a person uses them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import unicodedata
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pommel.errors import PommelError, StateError, UsageError
from pommel.sftp import service as service_module
from pommel.sftp.browsing import AlreadyThere, DiskFull, NotThere, OtherOffset, Upload, UploadBusy
from pommel.sftp.codec import Space
from pommel.sftp.link import SftpLink
from pommel.sftp.service import FileService
from pommel.sftp.session import FileRefused, SftpSession, served_by
from pommel.sftp.tree import FilesError
from pommel.tasks import background

from .servers import PLAIN_USER, SFTP_SERVER


@pytest_asyncio.fixture
async def files(tmp_path: Path) -> AsyncIterator[FileService]:
    home = tmp_path / "home"
    home.mkdir()
    argv = ["env", f"HOME={home}", "sh", "-c", 'cd "$HOME" && exec "$@"', "sh", *PLAIN_USER, SFTP_SERVER]
    link = SftpLink(lambda: served_by(argv, "the machine"))
    async with background(link.run()):
        yield FileService(link, "the machine")


@pytest.fixture
def home(files: FileService, tmp_path: Path) -> Path:
    return tmp_path / "home"


def b(path: Path) -> bytes:
    return os.fsencode(path)


async def given(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_a_folder_is_listed(files: FileService, home: Path) -> None:
    (home / "folder").mkdir()
    (home / ".hidden").write_bytes(b"x" * 5)
    os.utime(home / ".hidden", (1_000_000_000, 1_000_000_000))
    (home / "out").symlink_to("/usr")
    (home / "lost").symlink_to("nowhere")
    os.mkfifo(home / "pipe")
    (home / os.fsdecode(b"\xff\n")).touch()
    told = await files.listing(b"~")
    assert told.path == b(home) and not told.more
    found = {one.name: one for one in told.entries}
    assert {name: (one.kind, one.leads) for name, one in found.items()} == {
        b"folder": ("folder", None), b".hidden": ("file", None), b"out": ("link", "folder"), b"lost": ("link", None),
        b"pipe": ("other", None), b"\xff\n": ("file", None),
    }  # fmt: skip
    assert (found[b".hidden"].size, found[b".hidden"].mtime) == (5, 1_000_000_000)
    assert told.space is not None and 0 < told.space.free < told.space.total
    assert (await files.listing(b(home / "out") + b"/lib/..")).path == b"/usr"


async def test_what_cannot_be_listed(files: FileService, home: Path) -> None:
    with pytest.raises(NotThere):
        await files.listing(b"~/none")
    (home / "file").touch()
    with pytest.raises(StateError, match="is not a folder"):
        await files.listing(b"~/file")
    (home / "shut").mkdir(0)
    with pytest.raises(FileRefused, match="the machine could not open a folder: permission denied"):
        await files.listing(b"~/shut")


async def test_a_large_folder_is_cut_and_says_so(
    files: FileService, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(120):
        (home / str(number)).touch()
    monkeypatch.setattr(service_module, "ENTRIES_MAX", 100)
    told = await files.listing(b"~")
    assert len(told.entries) == 100 and told.more
    assert (await files.listing(b"/usr")).entries, "the session goes on"


async def test_a_name_may_be_spelled_in_another_way(files: FileService, home: Path) -> None:
    """A Mac's Finder sends NFD where a Linux guest has NFC, and a person types the one where a Mac has the other."""
    composed = home / "Büro"
    composed.mkdir()
    apart = unicodedata.normalize("NFD", str(composed)).encode()
    assert (await files.listing(apart)).path == b(composed)
    (composed / "é").write_bytes(b"x")
    upload = Upload(apart + unicodedata.normalize("NFD", "/é").encode(), 3, 0)
    with pytest.raises(AlreadyThere):
        await files.begin(upload)
    await files.receive(upload, await files.begin(upload, replace=True), given(b"new"))
    await files.finish(upload, replace=True)
    assert [one.name for one in composed.iterdir()] == ["é"] and (composed / "é").read_bytes() == b"new"


async def test_an_upload_in_pieces_that_breaks_off_and_goes_on(files: FileService, home: Path) -> None:
    data = os.urandom(300_000)
    upload = Upload(b"~/data.bin", len(data), 1_000_000_000)
    assert await files.begin(upload) == 0
    assert await files.receive(upload, 0, given(data[:100_000])) == 100_000

    async def breaking() -> AsyncIterator[bytes]:
        yield data[100_000:150_000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await files.receive(upload, 100_000, breaking())
    assert not (home / "data.bin").exists(), "it has its name only when it is whole"
    with pytest.raises(OtherOffset) as refusal:
        await files.receive(upload, 200_000, given(b"x"))
    assert refusal.value.offset == 150_000
    with pytest.raises(OtherOffset):
        await files.finish(upload)
    at = await files.begin(upload)
    assert at == 150_000
    assert await files.receive(upload, at, given(data[at:])) == len(data)
    await files.finish(upload)
    assert [one.name for one in home.iterdir()] == ["data.bin"]
    assert (home / "data.bin").read_bytes() == data and (home / "data.bin").stat().st_mtime == 1_000_000_000


async def test_an_empty_file_and_a_discarded_one(files: FileService, home: Path) -> None:
    empty, other = Upload(b"~/empty", 0, 0), Upload(b"~/other", 10, 0)
    await files.receive(empty, await files.begin(empty), given())
    await files.finish(empty)
    await files.receive(other, await files.begin(other), given(b"x"))
    await files.discard(other)
    await files.discard(other)
    assert [one.name for one in home.iterdir()] == ["empty"]


async def test_nothing_is_replaced_unless_asked(files: FileService, home: Path) -> None:
    (home / "file").write_bytes(b"old")
    (home / "file").chmod(0o751)
    (home / "folder").mkdir()
    for name, replaceable in ((b"file", True), (b"folder", False)):
        with pytest.raises(AlreadyThere) as refusal:
            await files.begin(Upload(b"~/" + name, 3, 0))
        assert refusal.value.replaceable is replaceable
    with pytest.raises(AlreadyThere):
        await files.begin(Upload(b"~/folder", 3, 0), replace=True)
    upload = Upload(b"~/file", 3, 0)
    await files.receive(upload, await files.begin(upload, replace=True), given(b"new"))
    with pytest.raises(AlreadyThere):
        await files.finish(upload)
    await files.finish(upload, replace=True)
    assert (home / "file").read_bytes() == b"new" and (home / "file").stat().st_mode & 0o777 == 0o751


async def test_more_than_was_announced_is_refused(files: FileService, home: Path) -> None:
    upload = Upload(b"~/file", 3, 0)
    with pytest.raises(UsageError, match="became longer"):
        await files.receive(upload, await files.begin(upload), given(b"four"))


async def test_two_pages_do_not_write_one_file(files: FileService) -> None:
    upload, ready, go = Upload(b"~/file", 2, 0), asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        ready.set()
        await go.wait()
        yield b"y"

    first = asyncio.ensure_future(files.receive(upload, 0, slowly()))
    await ready.wait()
    for attempt in (files.receive(upload, 0, given(b"z")), files.finish(upload), files.discard(upload)):
        with pytest.raises(UploadBusy):
            await attempt
    go.set()
    assert await first == 2
    await files.finish(upload)


async def test_a_full_disk_is_told(files: FileService, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiskFull, match=r"the disk of the machine has only .* free"):
        await files.begin(Upload(b"~/file", 1 << 60, 0))

    async def no_space(self: SftpSession, path: bytes) -> Space:
        return Space(1000, 1 << 30)

    upload = Upload(b"~/file", 500, 0)
    (home / os.fsdecode(upload.part_in(b"")[1:])).symlink_to("/dev/full")
    monkeypatch.setattr(SftpSession, "space", no_space)
    with pytest.raises(FilesError, match="name for the incomplete upload is in use"):
        await files.receive(upload, 0, given(b"x"))
    with pytest.raises(DiskFull):
        async with files._link.session() as session, files._explained(session, b"/"):
            await session.write_on(b"/dev/full", 0, given(b"x" * 100), new=False)


async def test_folders_are_made(files: FileService, home: Path) -> None:
    await files.make_folder(b"~/new")
    with pytest.raises(AlreadyThere):
        await files.make_folder(b"~/new")
    await files.make_folder(b"~/new", may_exist=True)
    (home / "file").touch()
    with pytest.raises(AlreadyThere):
        await files.make_folder(b"~/file", may_exist=True)
    with pytest.raises(FileRefused):
        await files.make_folder(b"~/none/new")
    assert (home / "new").is_dir()


async def test_names_are_changed(files: FileService, home: Path) -> None:
    (home / "one").write_bytes(b"1")
    (home / "two").write_bytes(b"2")
    (home / "folder").mkdir()
    with pytest.raises(AlreadyThere):
        await files.rename(b"~/one", b"~/two")
    with pytest.raises(AlreadyThere):
        await files.rename(b"~/one", b"~/folder")
    await files.rename(b"~/one", b"~/folder/\xff")
    assert (home / "folder" / os.fsdecode(b"\xff")).read_bytes() == b"1" and (home / "two").read_bytes() == b"2"
    await files.rename(b"~/two", b"~/two")
    await files.rename(b"~/folder", b"~/other")
    assert (home / "other").is_dir()
    with pytest.raises(FileRefused, match="no longer exists"):
        await files.rename(b"~/none", b"~/nothing")


async def test_a_guest_that_ignores_case(files: FileService, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Mac, foo is there under the name Foo too, but the folder lists only one."""
    (home / "foo").write_bytes(b"1")
    look = SftpSession.look

    async def ignoring(self: SftpSession, path: bytes, **how: Any) -> object:
        return await look(self, path.replace(b"Foo", b"foo"), **how)

    monkeypatch.setattr(SftpSession, "look", ignoring)
    await files.rename(b"~/foo", b"~/Foo")
    assert [one.name for one in home.iterdir()] == ["Foo"]
    monkeypatch.setattr(SftpSession, "look", look)
    (home / "foo").write_bytes(b"2")
    with pytest.raises(AlreadyThere):
        await files.rename(b"~/foo", b"~/Foo")


async def test_what_is_deleted_and_what_is_not(files: FileService, home: Path, tmp_path: Path) -> None:
    (home / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "stays").touch()
    for number in range(50):
        (home / "tree" / "deep" / str(number)).touch()
    (home / "tree" / "link").symlink_to(tmp_path / "outside")
    (home / "file").touch()
    for path in (b(home), b"/", b(tmp_path), b(home / "tree") + b"/../../home"):
        with pytest.raises(StateError, match="home folder"):
            await files.remove([b(home / "file"), path])
    assert (home / "file").exists()
    await files.remove([b(home / "file"), b(home / "tree")])
    assert list(home.iterdir()) == [] and (tmp_path / "outside" / "stays").exists()
    with pytest.raises(FileRefused, match="no longer exists"):
        await files.remove([b(home / "file")])


async def whole(reading: Callable[[int, int], Any], start: int, end: int) -> bytes:
    async with contextlib.aclosing(reading(start, end)) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_files_and_folders_come_out(files: FileService, home: Path) -> None:
    data = os.urandom(200_000)
    (home / "folder").mkdir()
    (home / "folder" / "file").write_bytes(data)
    (home / "link").symlink_to("folder/file")
    os.mkfifo(home / "pipe")
    async with files.opened(b"~/link") as (facts, reading):
        assert (facts.name, facts.size, facts.folder) == (b"link", len(data), False)
        assert await whole(reading, 0, len(data)) == data
        assert await whole(reading, 1000, 150_000) == data[1000:150_000]
    async with files.opened(b"~/folder") as (facts, reading):
        assert facts.folder and len(await whole(reading, 0, facts.size)) == facts.size
    with pytest.raises(StateError, match="neither a file nor a folder"):
        async with files.opened(b"~/pipe"):
            pass
    with pytest.raises(FileRefused):
        async with files.opened(b"~/none"):
            pass


async def test_files_are_copied(files: FileService, home: Path) -> None:
    data = os.urandom(200_000)
    (home / "one").write_bytes(data)
    (home / "two").write_bytes(b"old")
    (home / "folder").mkdir()
    for _ in range(2):
        await files.copy(b"~/one", b"~/two")
    assert (home / "two").read_bytes() == data
    for old, new in ((b"~/folder", b"~/three"), (b"~/one", b"~/folder"), (b"~/none", b"~/three")):
        with pytest.raises(PommelError):
            await files.copy(old, new)
    assert sorted(one.name for one in home.iterdir()) == ["folder", "one", "two"]


async def test_only_an_empty_folder_is_deleted_by_itself(files: FileService, home: Path) -> None:
    (home / "full" / "in").mkdir(parents=True)
    with pytest.raises(StateError, match="is not empty"):
        await files.remove([b"~/full"], whole=False)
    await files.remove([b"~/full/in"], whole=False)
    await files.remove([b"~/full"], whole=False)
    assert not any(home.iterdir())


async def test_entries_are_packed_into_a_zip_file(files: FileService, home: Path) -> None:
    data = os.urandom(150_000)
    (home / "tree" / "empty").mkdir(parents=True)
    (home / "tree" / "file").write_bytes(data)
    (home / "tree" / "link").symlink_to("/etc/passwd")
    (home / "alone").write_bytes(b"x" * 100_000)
    await files.pack(b"~", [b"tree", b"alone"], b"~/all.zip")
    with zipfile.ZipFile(home / "all.zip") as packed:
        assert packed.testzip() is None
        assert sorted(packed.namelist()) == ["alone", "tree/", "tree/empty/", "tree/file"]
        assert packed.read("tree/file") == data
    with pytest.raises(AlreadyThere):
        await files.pack(b"~", [b"alone"], b"~/all.zip")
    with pytest.raises(FilesError):
        await files.pack(b"~", [b"none"], b"~/other.zip")
    assert sorted(one.name for one in home.iterdir()) == ["all.zip", "alone", "tree"]
