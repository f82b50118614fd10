"""The page's clipboard over a real sshd: the trial machine's pasteboard, and a Mac's stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from clipboard.conftest import Clip, Mac, Sshd, descendants
from pommel.app.console import clipboard as console_clipboard
from pommel.app.console.clipboard import MachineClipboard
from pommel.console.clipboard import Clip as PageClip
from pommel.console.clipboard import ClipFile, ClipState, ConsoleClipboard, Overtaken
from pommel.console.telling import Noun
from pommel.errors import PommelError, StateError
from pommel.sftp.tree import FilesError
from sftp.servers import PLAIN_USER, SFTP_SERVER
from waits import until

UTF8 = "public.utf8-plain-text"


@contextlib.asynccontextmanager
async def reaching(
    sshd: Sshd, idle_s: float = 60.0, limit: int = 1 << 20, noun: Noun = "machine"
) -> AsyncIterator[MachineClipboard]:
    hint = "pommel ssh m --copy-id"
    clipboard = MachineClipboard(lambda: sshd.ssh, key_hint=hint, noun=noun, idle_s=idle_s, limit=limit)
    running = asyncio.ensure_future(clipboard.run())
    try:
        yield clipboard
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


class Page:
    """A page that looks on: the states it was told."""

    def __init__(self, clipboard: ConsoleClipboard) -> None:
        self.states: list[ClipState] = []
        self._looking = asyncio.ensure_future(self._look(clipboard))

    async def _look(self, clipboard: ConsoleClipboard) -> None:
        async with contextlib.aclosing(clipboard.changes()) as states:
            async for state in states:
                self.states.append(state)

    async def leave(self) -> None:
        self._looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._looking


async def test_there_and_back(posix_guest: Sshd, guest_clip: Clip) -> None:
    guest_clip.copy("made in the machine ü\n".encode())
    async with reaching(posix_guest) as clipboard:
        assert await clipboard.get() == PageClip("made in the machine ü\n")
        await clipboard.set(PageClip("from the page\r\n", html="<b>from the page</b>"))
        assert guest_clip.paste() == b"from the page\r\n", "the guest has it when set returns"
        assert (await clipboard.get()).text == "from the page\r\n"


async def test_copies_are_counted_once_whoever_makes_them(posix_guest: Sshd, guest_clip: Clip) -> None:
    async with reaching(posix_guest) as clipboard:
        page = Page(clipboard)
        assert await clipboard.set(PageClip("ours")) == 1
        await until(lambda: page.states)
        guest_clip.copy(b"theirs")
        await until(lambda: page.states[-1] == ClipState(True, "", 2))
        assert (await clipboard.get()).text == "theirs"
        with pytest.raises(Overtaken, match="something newer was copied in the machine"):
            await clipboard.set(PageClip("from before that"), seen=1)
        assert guest_clip.paste() == b"theirs"
        assert await clipboard.set(PageClip("ours again"), seen=2) == 3
        await asyncio.sleep(0.7)  # its watch looks twice meanwhile
        assert clipboard.state().copies == 3
        await page.leave()


async def test_a_shells_guest_has_pictures_and_says_what_it_has_else(posix_guest: Sshd, guest_clip: Clip) -> None:
    webp, png = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 4), (0, 0, 255)).save(webp, "WEBP", lossless=True)
    Image.new("RGB", (8, 4), (0, 255, 0)).save(png, "PNG")
    async with reaching(posix_guest, noun="session") as clipboard:
        await clipboard.get()
        guest_clip.copy(webp.getvalue(), "image/webp")
        await until(lambda: clipboard.state().copies == 1)
        with Image.open(io.BytesIO((await clipboard.get()).png or b"")) as got:
            assert (got.format, got.getpixel((0, 0))) == ("PNG", (0, 0, 255))
        await clipboard.set(PageClip(png=png.getvalue()))
        assert guest_clip.paste("image/png") == png.getvalue()
        # It takes one form, and what it tells of that is no copy of its own.
        await clipboard.set(PageClip("cells", png=png.getvalue()))
        await until(lambda: guest_clip.paste() == b"cells")  # an xclip's parent ends an instant before it owns
        assert (await clipboard.get()) == PageClip("cells")
        guest_clip.copy(b"x", "application/x-thing")
        await until(lambda: clipboard.state().copies == 4)
        with pytest.raises(StateError, match=r"the session's clipboard is not copied: .* \(application/x-thing\)"):
            await clipboard.get()


async def test_a_slow_guest_that_tells_late_of_our_own_is_not_taken_for_a_copy(
    posix_guest: Sshd, guest_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_clipboard, "ECHO_S", -1.0)
    async with reaching(posix_guest) as clipboard:
        await clipboard.set(PageClip("ours"))
        guest_clip.copy(b"ours")  # the same, from another owner: it is told of, and is no news
        await asyncio.sleep(0.7)
        assert clipboard.state().copies == 1
        for number, text in enumerate((b"theirs", b"ours"), 2):
            guest_clip.copy(text)
            await until(lambda number=number: clipboard.state().copies == number)


async def test_a_mac_has_pictures_and_html(mac: Mac) -> None:
    tiff, png = io.BytesIO(), io.BytesIO()
    Image.linear_gradient("L").save(tiff, "TIFF")
    Image.linear_gradient("L").save(png, "PNG")
    async with reaching(mac.sshd) as clipboard:
        await clipboard.get()
        mac.copy({"public.tiff": tiff.getvalue()})
        await until(lambda: clipboard.state().copies == 1)
        with Image.open(io.BytesIO((await clipboard.get()).png or b"")) as got:
            assert got.tobytes() == Image.linear_gradient("L").tobytes()
        await clipboard.set(PageClip(png=png.getvalue()))
        assert mac.items()[0]["public.png"] == png.getvalue()
        mac.copy({"public.png": png.getvalue()})  # the same again: the Mac counts it, and so do we
        await until(lambda: clipboard.state().copies == 3)
        await clipboard.set(PageClip("x", html="<i>x</i>"))
        assert b"<i>x</i>" in mac.items()[0]["public.html"]
        await clipboard.set(PageClip())
        assert await clipboard.get() == PageClip()


async def test_files_of_a_mac_are_named_and_read_over_sftp(mac: Mac, tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "a b.bin").write_bytes(data)
    async with reaching(mac.sshd) as clipboard:
        await clipboard.get()
        (tmp_path / "folder/inner").mkdir(parents=True)
        (tmp_path / "folder/inner/file").write_bytes(data)
        (tmp_path / "folder/empty").touch()
        paths = (tmp_path / "a b.bin", tmp_path / "folder", tmp_path / "gone")
        mac.copy(*({"public.file-url": path.as_uri().encode()} for path in paths))
        await until(lambda: clipboard.state().copies == 1)
        clip = await clipboard.get()
        gone = "the guest could not look at a file: it no longer exists"
        assert clip.files == (
            ClipFile("a b.bin", len(data)),
            ClipFile("folder", folder=True),
            ClipFile("gone", why=gone),
        )
        async with clipboard.open_file(clip.copies, 0) as (file, pieces):
            assert (file, b"".join([piece async for piece in pieces])) == (clip.files[0], data)
        async with clipboard.open_file(clip.copies, 1) as (file, pieces):
            archive = b"".join([piece async for piece in pieces])
        assert file == ClipFile("folder.tar", len(archive), folder=True)
        with tarfile.open(fileobj=io.BytesIO(archive)) as made:
            assert made.getnames() == ["folder", "folder/empty", "folder/inner", "folder/inner/file"]
            unpacked = made.extractfile("folder/inner/file")
            assert unpacked is not None and unpacked.read() == data
        # Who leaves in the middle leaves nothing behind, and who asks for more than there is gets words.
        for index in (0, 1):
            async with clipboard.open_file(clip.copies, index) as (_, pieces):
                async for _ in pieces:
                    break
        with pytest.raises(StateError, match="no longer has this file"):
            async with clipboard.open_file(clip.copies, 3):
                pass


async def test_a_folder_with_a_file_that_cannot_be_read(mac: Mac, tmp_path: Path) -> None:
    """The rest of it is downloaded, and a text in the archive names what is missing."""
    mac.sshd.serve_files_by([*PLAIN_USER, SFTP_SERVER])
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a", "keys", "z"):
        (folder / name).write_text(name)
    (folder / "keys").chmod(0)
    async with reaching(mac.sshd) as clipboard:
        await clipboard.get()
        mac.copy({"public.file-url": folder.as_uri().encode()})
        await until(lambda: clipboard.state().copies == 1)
        copies = (await clipboard.get()).copies
        async with clipboard.open_file(copies, 0) as (file, pieces):
            archive = b"".join([piece async for piece in pieces])
        assert file.size == len(archive)
        with tarfile.open(fileobj=io.BytesIO(archive)) as made:
            assert made.getnames() == ["folder", "folder/a", "folder/z", "folder (left out).txt"]
            note = made.extractfile("folder (left out).txt")
            assert note is not None
            assert note.read() == b"Not included, because they could not be read: 1.\nkeys\n"
        (folder / "a").chmod(0)
        (folder / "z").unlink()
        with pytest.raises(FilesError, match="permission denied"):
            async with clipboard.open_file(copies, 0):
                pass


async def test_what_may_not_travel_is_refused_in_words(mac: Mac) -> None:
    async with reaching(mac.sshd) as clipboard:
        await clipboard.get()
        mac.copy({UTF8: b"pass", "org.nspasteboard.ConcealedType": b""})
        await until(lambda: clipboard.state().copies == 1)
        with pytest.raises(StateError, match="marked as a secret"):
            await clipboard.get()
        with pytest.raises(StateError, match="too large"):
            await clipboard.set(PageClip("x" * (2 << 20)))
        with pytest.raises(StateError, match="NUL"):
            await clipboard.set(PageClip("a\0b"))


async def test_a_picture_for_a_guest_that_takes_text_only(posix_guest: Sshd, guest_clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "bin/python3").unlink()  # nobody waits there for another copy
    async with reaching(posix_guest) as clipboard:
        with pytest.raises(StateError, match="a kind that the other side does not know"):
            await clipboard.set(PageClip(png=b"\x89PNG"))


async def test_connected_only_while_somebody_looks_on(posix_guest: Sshd, guest_clip: Clip) -> None:
    def sessions() -> list[int]:
        assert posix_guest.daemon is not None
        return descendants(posix_guest.daemon.pid)

    async with reaching(posix_guest, idle_s=0.2) as clipboard:
        await asyncio.sleep(0.3)
        assert not sessions()
        page = Page(clipboard)
        await until(sessions)
        await asyncio.sleep(0.5)
        assert sessions(), "as long as it stays"
        await page.leave()
        await until(lambda: not sessions())
        assert (await clipboard.get()).text == "at the beginning", "and again when somebody asks"


async def test_a_guest_that_goes_and_comes(
    posix_guest: Sshd, guest_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_clipboard, "BACKOFF_S", (0.1,))
    async with reaching(posix_guest) as clipboard:
        page = Page(clipboard)
        await clipboard.get()
        posix_guest.stop()
        guest_clip.copy(b"copied while nobody was told")
        await until(lambda: page.states[-1].why == "the machine does not answer SSH (yet)")
        assert not page.states[-1].available
        with pytest.raises(PommelError, match="does not answer SSH"):
            await clipboard.get()
        posix_guest.start()
        await until(lambda: page.states[-1] == ClipState(True, "", 1))
        assert (await clipboard.get()).text == "copied while nobody was told"
        await page.leave()


async def test_a_set_under_way_when_the_guest_goes_fails_in_words(posix_guest: Sshd, guest_clip: Clip) -> None:
    async with reaching(posix_guest, limit=8 << 20) as clipboard:
        await clipboard.get()
        setting = asyncio.ensure_future(clipboard.set(PageClip("x" * (6 << 20))))
        await asyncio.sleep(0.01)
        posix_guest.stop()
        with pytest.raises(PommelError):
            await setting


async def test_a_refused_key_says_what_to_type(posix_guest: Sshd, guest_clip: Clip) -> None:
    (posix_guest.root / "authorized").write_text("")
    async with reaching(posix_guest) as clipboard:
        with pytest.raises(PommelError, match=r"refuses these keys: .*\(type: pommel ssh m --copy-id\)"):
            await clipboard.get()
        assert not clipboard.state().available
