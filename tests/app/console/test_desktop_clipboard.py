"""A real X server's clipboard, as the page of `kvm serve` has it."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from clipboard.conftest import Clip
from clipboard.test_host_x11 import foreign, program
from pommel.app.console.desktop_clipboard import DesktopClipboard, desktop_clipboard
from pommel.clipboard import host_x11
from pommel.clipboard.uris import uri_list
from pommel.console.clipboard import Clip as PageClip
from pommel.console.clipboard import ClipFile, ConsoleClipboard, Overtaken
from pommel.errors import PommelError, StateError
from pommel.sftp.tree import FilesError
from waits import until


@pytest.fixture
async def clipboard(display: str, host_clip: Clip) -> AsyncIterator[DesktopClipboard]:
    async with desktop_clipboard(display) as found:
        assert found is not None
        yield found


async def copied(clipboard: ConsoleClipboard, clip: Clip, data: bytes, target: str) -> None:
    before = clipboard.state().copies
    await asyncio.to_thread(clip.copy, data, target)
    await until(lambda: clipboard.state().copies > before)


async def told(clipboard: ConsoleClipboard) -> str:
    """Why nothing can be had."""
    with pytest.raises(PommelError) as refusal:
        await clipboard.get()
    return refusal.value.message


async def test_it_is_empty_only_when_it_is(
    clipboard: DesktopClipboard, display: str, host_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.new("RGB", (8, 4), (0, 0, 255))
    for kind in ("BMP", "JPEG", "WEBP", "TIFF", "GIF"):
        data = io.BytesIO()
        picture.save(data, kind)
        await copied(clipboard, host_clip, data.getvalue(), f"image/{kind.lower()}")
        with Image.open(io.BytesIO((await clipboard.get()).png or b"")) as png:
            assert (png.format, png.size) == ("PNG", (8, 4)), kind
    stays = "the session's clipboard is not copied: "
    for data, target, why in (
        (b"x", "application/x-thing", "of a kind that the other side does not know (application/x-thing)"),
        (b"\xffno picture", "image/webp", "a picture that cannot be read (image/webp)"),
        (b"{\\rtf1}", "text/rtf", "of a kind that the other side does not know (text/rtf)"),
        (b"x" * (65 << 20), "UTF8_STRING", "too large"),
    ):
        await copied(clipboard, host_clip, data, target)
        assert await told(clipboard) == stays + why
    # What is being fetched is waited for, and what was there before it is not given in its stead.
    await copied(clipboard, host_clip, b"y" * (20 << 20), "UTF8_STRING")
    assert len((await clipboard.get()).text or "") == 20 << 20
    async with program(display, {}, lists=False):
        await until(lambda: clipboard.state().copies == 11)
        assert await told(clipboard) == f"{stays}its program refused to send it"
    await until(lambda: clipboard.state().copies == 12)
    assert await told(clipboard) == "the session's clipboard is empty: the program that had copied it has ended"
    monkeypatch.setattr(host_x11, "_STEP_S", 0.5)
    silence = asyncio.Event()

    def keep(desk: object, window: object, clip: int) -> None:
        window.set_selection_owner(clip, 0)  # type: ignore[attr-defined]
        desk.sync()  # type: ignore[attr-defined]
        asyncio.run_coroutine_threadsafe(silence.wait(), loop).result(60)

    loop = asyncio.get_running_loop()
    keeping = loop.run_in_executor(None, foreign, display, keep)
    await until(lambda: clipboard.state().copies == 13)
    assert await told(clipboard) == f"{stays}its program did not answer in time"
    silence.set()
    await keeping


async def test_what_is_newer_stays_and_each_copy_has_its_number(clipboard: DesktopClipboard, host_clip: Clip) -> None:
    assert await clipboard.set(PageClip("first"), 0) == 1
    assert await clipboard.set(PageClip("second"), 1) == 2
    await copied(clipboard, host_clip, b"theirs", "UTF8_STRING")
    with pytest.raises(Overtaken):
        await clipboard.set(PageClip("third"), 2)
    assert host_clip.paste() == b"theirs" and (await clipboard.get()).text == "theirs"
    # While a large copy is still being fetched, it is the newer one already.
    await asyncio.to_thread(host_clip.copy, b"z" * (20 << 20))
    with pytest.raises(Overtaken):
        await clipboard.set(PageClip("fourth"), 3)
    assert await clipboard.set(PageClip("whatever is there")) == 5
    assert (await clipboard.get()).text == "whatever is there"
    assert host_clip.paste() == b"whatever is there"


async def read(clipboard: ConsoleClipboard, copies: int, index: int) -> tuple[ClipFile, bytes]:
    async with clipboard.open_file(copies, index) as (file, pieces):
        return file, b"".join([piece async for piece in pieces])


async def test_files_are_those_that_the_clipboard_names(
    clipboard: DesktopClipboard, host_clip: Clip, tmp_path: Path
) -> None:
    data = os.urandom(700_000)
    (tmp_path / "größe.bin").write_bytes(data)
    (tmp_path / "link").symlink_to("größe.bin")
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "folder/inner/file").write_bytes(data)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "odd\n\x1bname").write_bytes(b"")
    names = ("größe.bin", "link", "folder", "fifo", "odd\n\x1bname", "gone")
    uris = uri_list(os.fsencode(tmp_path / name) for name in names)
    await copied(clipboard, host_clip, uris, "text/uri-list")
    clip = await clipboard.get()
    assert clip.forms == ()
    assert clip.files == (
        ClipFile("größe.bin", 700_000),
        ClipFile("link", 700_000),
        ClipFile("folder", folder=True),
        ClipFile("fifo", why="it is neither a file nor a folder"),
        ClipFile("odd\ufffd\ufffdname", 0),
        ClipFile("gone", why="No such file or directory"),
    )
    assert await read(clipboard, clip.copies, 0) == (clip.files[0], data)
    assert await read(clipboard, clip.copies, 1) == (clip.files[1], data)
    file, archive = await read(clipboard, clip.copies, 2)
    assert file == ClipFile("folder.tar", len(archive), folder=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as made:
        assert made.getnames() == ["folder", "folder/inner", "folder/inner/file"]
        unpacked = made.extractfile("folder/inner/file")
        assert unpacked is not None and unpacked.read() == data
    # A file of it that has become a link since it was looked at is not followed, wherever it leads.
    async with clipboard.open_file(clip.copies, 2) as (_, pieces):
        (tmp_path / "folder/inner/file").unlink()
        (tmp_path / "folder/inner/file").symlink_to("/etc/passwd")
        with pytest.raises(StateError, match="cannot be read"):
            b"".join([piece async for piece in pieces])
    for index, error in ((3, FilesError), (5, StateError), (6, StateError), (-1, StateError)):
        with pytest.raises(error):
            await read(clipboard, clip.copies, index)
    # What has become something else since is not read either.
    (tmp_path / "größe.bin").unlink()
    os.mkfifo(tmp_path / "größe.bin")
    with pytest.raises(FilesError, match="it is neither a file nor a folder"):
        await read(clipboard, clip.copies, 0)
    await copied(clipboard, host_clip, b"copy\n" + uris.split(b"\r\n")[4], "x-special/gnome-copied-files")
    assert (await clipboard.get()).files == (clip.files[4],)
    with pytest.raises(StateError, match="no longer has this file"):
        await read(clipboard, clip.copies, 4)
