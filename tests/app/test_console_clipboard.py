"""The page's clipboard over a real sshd: the trial machine's pasteboard, and a Mac's stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator

import pytest
from PIL import Image

from clipboard.conftest import Clip, Mac, Sshd, descendants, until
from pommel.app import console_clipboard
from pommel.app.console_clipboard import MachineClipboard
from pommel.console.clipboard import Clip as PageClip
from pommel.console.clipboard import ClipState, ConsoleClipboard
from pommel.errors import PommelError, StateError

UTF8 = "public.utf8-plain-text"


@contextlib.asynccontextmanager
async def reaching(sshd: Sshd, idle_s: float = 60.0, limit: int = 1 << 20) -> AsyncIterator[MachineClipboard]:
    clipboard = MachineClipboard(lambda: sshd.ssh, key_hint="pommel ssh m --copy-id", idle_s=idle_s, limit=limit)
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


async def test_a_copy_made_in_the_machine_is_told_and_our_own_is_not(posix_guest: Sshd, guest_clip: Clip) -> None:
    async with reaching(posix_guest) as clipboard:
        page = Page(clipboard)
        await clipboard.set(PageClip("ours"))
        await until(lambda: page.states)
        guest_clip.copy(b"theirs")
        await until(lambda: page.states[-1] == ClipState(True, "", 1))
        assert (await clipboard.get()).text == "theirs"
        await clipboard.set(PageClip("ours again"))
        await asyncio.sleep(0.7)  # its watch looks twice meanwhile
        assert clipboard.state().copies == 1
        await page.leave()


async def test_a_slow_guest_that_tells_late_of_our_own_is_not_taken_for_a_copy(
    posix_guest: Sshd, guest_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_clipboard, "ECHO_S", -1.0)
    async with reaching(posix_guest) as clipboard:
        await clipboard.set(PageClip("ours"))
        guest_clip.copy(b"ours")  # the same, from another owner: it is told of, and is no news
        await asyncio.sleep(0.7)
        assert clipboard.state().copies == 0
        for number, text in enumerate((b"theirs", b"ours"), 1):
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
        await clipboard.set(PageClip("x", html="<i>x</i>"))
        assert b"<i>x</i>" in mac.items()[0]["public.html"]
        await clipboard.set(PageClip())
        assert await clipboard.get() == PageClip()


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


async def test_a_picture_for_a_guest_that_takes_text_only(posix_guest: Sshd, guest_clip: Clip) -> None:
    async with reaching(posix_guest) as clipboard:
        with pytest.raises(StateError, match="no kind that the other side knows"):
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
        await until(lambda: page.states[-1].why == "the machine does not answer SSH (yet)")
        assert not page.states[-1].available
        with pytest.raises(PommelError, match="does not answer SSH"):
            await clipboard.get()
        posix_guest.start()
        await until(lambda: page.states[-1].available)
        assert (await clipboard.get()).text == "at the beginning"
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
        with pytest.raises(PommelError, match=r"lets nobody in .*\(type: pommel ssh m --copy-id\)"):
            await clipboard.get()
        assert not clipboard.state().available
