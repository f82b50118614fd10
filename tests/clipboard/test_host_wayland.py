"""A real compositor without a screen (sway), and wl-clipboard's own programs as the other clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from pommel.clipboard.content import EMPTY, FORMS, HTML, PNG, TEXT, URIS, HeldBack, content_of, text_of
from pommel.clipboard.host import Desktop, HostClipboard, HostCopy, HostGone, find_desktop, host_clipboard
from pommel.clipboard.sync import Settings, Sync, SyncState
from pommel.clipboard.uris import paths_of, uri_list
from pommel.errors import StateError
from sway import Sway
from waits import until

from .conftest import Mac, descendants


@pytest.fixture
def sway() -> Iterator[Sway]:
    made = Sway()
    yield made
    made.close()


@pytest.fixture
async def wayland(sway: Sway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HostClipboard]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(sway.runtime))
    monkeypatch.setenv("WAYLAND_DISPLAY", sway.display)
    assert find_desktop() == Desktop("wayland", sway.display)
    async with host_clipboard(limit=1 << 20) as clipboard:
        yield clipboard


async def soon(clipboard: HostClipboard) -> HostCopy:
    return await asyncio.wait_for(clipboard.next_change(), 20)


async def test_copies_are_told_and_our_own_are_not(wayland: HostClipboard, sway: Sway) -> None:
    assert await soon(wayland) == HostCopy(EMPTY, 0)
    sway.run("wl-copy", input="grüße\r\n\n".encode())
    assert await soon(wayland) == HostCopy(text_of("grüße\r\n\n"), 1)
    assert await wayland.write(text_of("ours\n"), 1)
    await until(lambda: sway.run("wl-paste", "-n") == b"ours\n")
    sway.run("wl-copy", "-t", "image/png", input=b"\x89PNG")
    assert await soon(wayland) == HostCopy(content_of({PNG: b"\x89PNG"}), 2)
    assert not await wayland.write(text_of("too late"), 1)
    assert sway.run("wl-paste", "-n") == b"\x89PNG"


async def test_what_is_written(wayland: HostClipboard, sway: Sway) -> None:
    await soon(wayland)
    picture = os.urandom(900_000)
    for content, kind, data in (
        (content_of({PNG: picture}), "image/png", picture),
        # One form only: the plainest.
        (content_of({TEXT: b"t\n", HTML: b"<b>t</b>"}), "text/plain;charset=utf-8", b"t\n"),
        (content_of({HTML: b'<img charset="">'}), "text/html", b'<img charset="">'),
    ):
        assert await wayland.write(content, 0)
        await until(lambda kind=kind, data=data: sway.run("wl-paste", "-n", "-t", kind) == data)
    assert await wayland.write(EMPTY, 0)
    await until(lambda: sway.run("wl-paste", "-n") is None)


async def test_what_stays(wayland: HostClipboard, sway: Sway) -> None:
    await soon(wayland)
    sway.run("wl-copy", input=b"x" * (1 << 20) + b"x")
    assert (await soon(wayland)).content.held is HeldBack.TOO_LARGE
    sway.run("wl-copy", "-t", "application/x-other", input=b"x")
    assert (await soon(wayland)).content.held is HeldBack.FOREIGN
    sway.run("wl-copy", "-t", "x-kde-passwordManagerHint", input=b"secret")
    assert (await soon(wayland)).content.held is HeldBack.SECRET


async def test_a_program_that_is_killed_is_started_again(wayland: HostClipboard, sway: Sway) -> None:
    await soon(wayland)
    assert await wayland.write(text_of("ours"), 0)
    await until(lambda: sway.run("wl-paste", "-n") == b"ours")
    for victim in (b"--watch", b"--foreground"):
        for pid in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                if victim in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    os.kill(pid, signal.SIGKILL)
        sway.run("wl-copy", input=b"after " + victim)
        while (await soon(wayland)).content != text_of(b"after " + victim):
            pass
    assert await wayland.write(text_of("ours again"), 99)
    await until(lambda: sway.run("wl-paste", "-n") == b"ours again")


async def test_files_are_fetched_before_they_are_offered(sway: Sway, mac: Mac, tmp_path: Path) -> None:
    """wl-copy cannot wait: what a Mac copied is here before it is on the clipboard. A copy from here travels, too."""
    (tmp_path / "two words").write_bytes(b"content")
    uris = uri_list([os.fsencode(tmp_path / "two words")])
    env = {"XDG_RUNTIME_DIR": str(sway.runtime)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", env["XDG_RUNTIME_DIR"])
        async with host_clipboard(Desktop("wayland", sway.display), forms=frozenset(FORMS)) as host:
            sync = Sync(mac.sshd.ssh, host, Settings(every_ms=10, files=tmp_path / "files"))
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(sync.run())
                await until(lambda: sync.snapshot.state is SyncState.SYNCING)
                sway.run("wl-copy", "-t", "text/uri-list", input=uris)
                await until(
                    lambda: (
                        [Path(unquote(i["public.file-url"].decode()[7:])).read_bytes() for i in mac.items()]
                        == [b"content"]
                    )
                )
                mac.copy({"public.file-url": uris.strip()})
                await until(lambda: sync.snapshot.to_host == 1)
                # wl-copy takes a moment.
                await until(lambda: (sway.run("wl-paste", "-n", "-t", "text/uri-list") or uris) != uris)
                (here,) = paths_of(sway.run("wl-paste", "-n", "-t", "text/uri-list") or b"")
                assert (
                    here.startswith(os.fsencode(tmp_path / "files"))
                    and Path(os.fsdecode(here)).read_bytes() == b"content"
                )
                running.cancel()


async def test_a_list_of_links_is_no_list_of_files(sway: Sway) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(sway.runtime))
        async with host_clipboard(Desktop("wayland", sway.display), forms=frozenset(FORMS)) as host:
            await soon(host)
            sway.run("wl-copy", "-t", "text/uri-list", input=b"https://example.org/\r\n")
            # wl-copy offers what is text as text, too.
            assert (await soon(host)).content == text_of("https://example.org/\r\n")
            sway.run("wl-copy", "-t", "x-special/gnome-copied-files", input=b"cut\nfile:///a")
            assert (await soon(host)).content == content_of({URIS: b"# cut\r\nfile:///a\r\n"})


async def test_the_compositor_is_killed(wayland: HostClipboard, sway: Sway) -> None:
    await soon(wayland)
    os.kill(sway.child.pid, signal.SIGKILL)
    with pytest.raises(HostGone):
        await soon(wayland)


async def test_no_compositor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(StateError, match=r"does not let programs see its clipboard: .*connect"):
        async with host_clipboard(Desktop("wayland", "wayland-0")):
            pass
