"""One copy at a time, with files: a real X server here, a real sshd and another X server there."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from app.clips import alive, machine_behind
from clipboard.conftest import Clip, Sshd
from pommel.app.clip import files as clip_files
from pommel.app.clip.once import Transferred, pull_and_keep, push
from pommel.app.clip.options import ClipOptions
from pommel.app.clip.target import Guest, find_guest
from pommel.app.workspace import Workspace
from pommel.clipboard.uris import uri_list
from pommel.errors import PommelError, StateError
from pommel.progress import Progress, ignore
from sftp.servers import PLAIN_USER, SFTP_SERVER


@pytest.fixture
def workspace(posix_guest: Sshd, tmp_path: Path, display: str) -> Workspace:
    return machine_behind(posix_guest, tmp_path / "w", display)


def trial(workspace: Workspace) -> Guest:
    return find_guest(workspace, "trial")


def copy_files(clip: Clip, *paths: Path) -> None:
    clip.copy(uri_list([os.fsencode(path) for path in paths]), "text/uri-list")


def pasted_files(clip: Clip) -> list[Path]:
    uris = (clip.paste("text/uri-list") or b"").decode().split()
    return [Path(unquote(urlsplit(uri).path)) for uri in uris]


@contextlib.asynccontextmanager
async def pulling(
    workspace: Workspace, report: Callable[[Progress], None] = ignore
) -> AsyncIterator[asyncio.Future[Transferred]]:
    """A pull whose copy is kept on the clipboard for the time of the block."""
    moved: asyncio.Future[Transferred] = asyncio.get_running_loop().create_future()
    keeping = asyncio.ensure_future(pull_and_keep(workspace, trial(workspace), ClipOptions(), moved.set_result, report))
    try:
        await asyncio.wait((moved, keeping), return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            keeping.result()
        yield moved
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "a tree ü"
    folder.mkdir()
    (folder / "big").write_bytes(os.urandom(3 << 20))
    (folder / "small").write_text("small\n")
    return folder


async def test_pictures_are_pushed_and_pulled_as_png(workspace: Workspace, host_clip: Clip, guest_clip: Clip) -> None:
    data = io.BytesIO()
    Image.new("RGB", (8, 4), (0, 0, 255)).save(data, "BMP")
    with alive(workspace):
        host_clip.copy(data.getvalue(), "image/bmp")
        assert (await push(workspace, trial(workspace), ClipOptions())).forms == ("image/png",)
        assert (guest_clip.paste("image/png") or b"").startswith(b"\x89PNG")
        guest_clip.copy(data.getvalue(), "image/bmp")
        async with pulling(workspace) as moved:
            assert (await moved).forms == ("image/png",)
            with Image.open(io.BytesIO(host_clip.paste("image/png") or b"")) as picture:
                assert picture.getpixel((0, 0)) == (0, 0, 255)


async def test_files_are_pushed_at_once(
    workspace: Workspace, host_clip: Clip, guest_clip: Clip, tree: Path, tmp_path: Path
) -> None:
    (single := tmp_path / "single").write_text("alone")
    copy_files(host_clip, tree, single)
    heard: list[Progress] = []
    with alive(workspace):
        moved = await push(workspace, trial(workspace), ClipOptions(), heard.append)
    assert (moved.files, moved.size_bytes) == (3, (3 << 20) + 11)
    assert heard[-1].finished and heard[-1].done == moved.size_bytes
    there, alone = pasted_files(guest_clip)
    assert there != tree and (there / "big").read_bytes() == (tree / "big").read_bytes()
    assert alone.read_text() == "alone"


async def test_files_are_pulled_at_once_and_a_pull_of_our_own_gives_ours(
    workspace: Workspace, host_clip: Clip, guest_clip: Clip, tree: Path
) -> None:
    copy_files(guest_clip, tree)
    heard: list[Progress] = []
    with alive(workspace):
        async with pulling(workspace, heard.append) as moved:
            assert (await moved).files == 2
            (here,) = pasted_files(host_clip)
            assert here.parent.parent == trial(workspace).paths.files
            assert (here / "big").read_bytes() == (tree / "big").read_bytes()
            assert heard[-1].finished
            # What came from there does not go back as something new.
            with pytest.raises(StateError, match="came from the other side"):
                await push(workspace, trial(workspace), ClipOptions())


async def test_a_file_that_cannot_be_read_is_left_out_and_named(
    workspace: Workspace, posix_guest: Sshd, host_clip: Clip, guest_clip: Clip, tree: Path
) -> None:
    posix_guest.serve_files_by([*PLAIN_USER, SFTP_SERVER])
    (tree / "keys").write_text("secret")
    (tree / "keys").chmod(0)
    copy_files(guest_clip, tree)
    heard: list[Progress] = []
    with alive(workspace):
        async with pulling(workspace, heard.append) as moved:
            assert ((await moved).files, (await moved).size_bytes) == (2, (3 << 20) + 6)
            (here,) = pasted_files(host_clip)
            assert {path.name for path in here.iterdir()} == {"big", "small"}
    assert [told.text for told in heard if told.warning] == ["1 left out: could not be read: keys"]


async def test_too_much_is_refused_with_what_to_type(
    workspace: Workspace, host_clip: Clip, guest_clip: Clip, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_files, "PASTE_LIMIT_BYTES", 1 << 20)
    copy_files(host_clip, tree)
    copy_files(guest_clip, tree)
    with alive(workspace):
        with pytest.raises(PommelError, match="more than the 1 MiB") as refused:
            await push(workspace, trial(workspace), ClipOptions())
        assert refused.value.hint == f"pommel scp -r '{tree}' trial:"
        with pytest.raises(PommelError, match="more than the 1 MiB") as refused:
            async with pulling(workspace):
                pass
        assert refused.value.hint == f"pommel scp -r 'trial:{tree}' ."
    assert pasted_files(guest_clip) == [tree]


async def test_a_file_that_is_gone_is_no_half_copy(workspace: Workspace, host_clip: Clip, tmp_path: Path) -> None:
    copy_files(host_clip, tmp_path / "gone")
    with alive(workspace), pytest.raises(PommelError, match="No such file"):
        await push(workspace, trial(workspace), ClipOptions())


async def test_a_guest_without_lists_of_files_says_so(
    workspace: Workspace, host_clip: Clip, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "bin" / "xclip").unlink()
    copy_files(host_clip, tree)
    with alive(workspace), pytest.raises(StateError, match="accepts no files"):
        await push(workspace, trial(workspace), ClipOptions())
