"""The sync of a machine that goes and comes: a real sshd for its guest, a held lock for its QEMU."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from app.clips import alive, machine_behind
from clipboard.conftest import Clip, Mac, Sshd
from pommel import locks
from pommel.app.clip import control as clip_control
from pommel.app.clip import running as clip_running
from pommel.app.clip import status as clip_status
from pommel.app.clip import sync as clip
from pommel.app.clip.options import ClipOptions
from pommel.app.clip.running import serve
from pommel.app.clip.target import Guest, find_guest
from pommel.app.network import reach
from pommel.app.workspace import Workspace
from pommel.errors import BusyError, PommelError, StateError, UsageError
from waits import until


@pytest.fixture
def workspace(posix_guest: Sshd, tmp_path: Path, display: str) -> Workspace:
    return machine_behind(posix_guest, tmp_path / "w", display)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (
        ("_LOOK_S", 0.05),
        ("_EAGER_S", 0.1),
        ("_WRITE_S", 0.01),
        ("_ADDRESS_S", 0.05),
        ("LINGER_S", 0.5),
    ):
        monkeypatch.setattr(clip_running, name, seconds)


@contextlib.asynccontextmanager
async def serving(workspace: Workspace, options: ClipOptions | None = None) -> AsyncIterator[asyncio.Task[str]]:
    task = asyncio.ensure_future(serve(workspace, trial(workspace), options or ClipOptions()))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, PommelError):
            await task


def trial(workspace: Workspace) -> Guest:
    return find_guest(workspace, "trial")


def seen(workspace: Workspace) -> clip_status.ClipStatus:
    """As another process would see it; asked of this one, a lock of its own answers from memory."""
    return clip_status.look(trial(workspace).paths, "trial")


async def order(workspace: Workspace, **question: object) -> dict[str, object]:
    return await asyncio.to_thread(clip_control.order, trial(workspace).paths.socket, question)


async def test_it_syncs_takes_orders_and_leaves_nothing(
    workspace: Workspace, host_clip: Clip, guest_clip: Clip
) -> None:
    paths = trial(workspace).paths
    guest_clip.copy(b"lost\n\n")
    with alive(workspace):
        async with serving(workspace, ClipOptions(history=3)) as task:
            await until(lambda: seen(workspace).to_guest == 1 or task.done())
            host_clip.copy(b"from the host")
            await until(lambda: guest_clip.paste() == b"from the host")
            await until(lambda: seen(workspace).to_guest == 2)
            assert not (await order(workspace, do="push"))["moved"], "the guest has it already"
            (entry,) = await asyncio.to_thread(clip.history, trial(workspace))
            assert (entry.number, entry.side, entry.size_bytes, entry.beginning) == (1, "guest", 6, "lost")
            assert await asyncio.to_thread(clip.history_text, trial(workspace), 1) == "lost\n\n"
            with pytest.raises(UsageError, match="no copy 2"):
                await order(workspace, do="history", entry=2)
            with pytest.raises(UsageError, match="does not know the command 'dance'"):
                await order(workspace, do="dance")
            assert b"from the host" not in paths.record.read_bytes()
            assert paths.shared.is_socket(), "its ssh lets further sessions in"
            with pytest.raises(BusyError):
                await serve(workspace, trial(workspace), ClipOptions())
            await order(workspace, do="stop")
            assert await asyncio.wait_for(task, 10) == "stopped"
    assert locks.holder(paths.lock) is None
    assert not paths.socket.exists() and not paths.shared.exists() and not paths.record.exists()


async def test_one_way_only_unless_a_person_asks(workspace: Workspace, host_clip: Clip, guest_clip: Clip) -> None:
    with alive(workspace):
        async with serving(workspace, ClipOptions(direction="host-to-guest")) as task:
            host_clip.copy(b"from the host")
            await until(lambda: seen(workspace).to_guest >= 1 or task.done())
            await until(lambda: guest_clip.paste() == b"from the host")
            guest_clip.copy(b"from the guest")
            while not (await order(workspace, do="pull"))["moved"]:
                await asyncio.sleep(0.05)
            await until(lambda: host_clip.paste() == b"from the guest")


async def test_a_machine_that_comes_is_connected_to(
    workspace: Workspace, posix_guest: Sshd, host_clip: Clip, guest_clip: Clip
) -> None:
    posix_guest.stop()
    async with serving(workspace) as task:
        await until(lambda: seen(workspace).why == "trial is not running" or task.done())
        assert seen(workspace).hint == "pommel start trial"
        with pytest.raises(StateError, match="trial: guest asleep: trial is not running"):
            await order(workspace, do="push")
        with alive(workspace):
            await until(lambda: "does not answer SSH (yet)" in seen(workspace).why)
            posix_guest.start()
            await until(lambda: seen(workspace).state == "syncing", 30)


async def test_who_pushes_right_after_a_start_has_the_sync_connect_first(
    workspace: Workspace, posix_guest: Sshd, host_clip: Clip, guest_clip: Clip
) -> None:
    posix_guest.stop()
    host_clip.copy(b"mine")
    with alive(workspace):
        async with serving(workspace):
            await until(lambda: seen(workspace).state == "guest asleep")
            posix_guest.start()
            await asyncio.to_thread(clip.settle, trial(workspace))
            assert seen(workspace).state == "syncing"
            began = time.monotonic()
            await asyncio.to_thread(clip.settle, trial(workspace))
            assert time.monotonic() - began < 2
    await asyncio.to_thread(clip.settle, trial(workspace))  # none runs


async def test_a_guest_whose_address_nobody_knows_yet_is_waited_for(
    workspace: Workspace, host_clip: Clip, guest_clip: Clip
) -> None:
    kept = workspace.paths("trial").directory / reach.STARTED
    kept.write_text(json.dumps({"network": {"forward": False, "macs": ["52:54:00:ff:ff:fe"]}}))
    with alive(workspace):
        async with serving(workspace) as task:
            await until(lambda: seen(workspace).running)
            await asyncio.sleep(0.2)
            assert not task.done() and seen(workspace).state != "syncing"
            kept.unlink()
            await until(lambda: seen(workspace).state == "syncing" or task.done(), 30)
            assert not task.done()


async def test_one_that_came_with_its_machine_goes_with_it_but_survives_a_restart(
    workspace: Workspace, host_clip: Clip, guest_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_running, "LINGER_S", 2.0)
    async with serving(workspace, ClipOptions(with_machine=True)) as task:
        with alive(workspace):
            await until(lambda: seen(workspace).state == "syncing" or task.done())
        await asyncio.sleep(0.3)
        with alive(workspace):
            await asyncio.sleep(0.3)
            assert not task.done()
        assert await asyncio.wait_for(task, 20) == "trial has stopped"
    assert not seen(workspace).why, "that is how it should end"


async def test_one_whose_machine_is_deleted_ends(workspace: Workspace, host_clip: Clip, guest_clip: Clip) -> None:
    async with serving(workspace) as task:
        await until(lambda: seen(workspace).why == "trial is not running")
        workspace.paths("trial").record.unlink()
        assert await asyncio.wait_for(task, 20) == "trial is gone"


async def test_a_refused_key_is_said_and_tried_again_when_somebody_did_something(
    workspace: Workspace, posix_guest: Sshd, host_clip: Clip, guest_clip: Clip
) -> None:
    authorized = posix_guest.root / "authorized"
    kept = authorized.read_text()
    authorized.write_text("")
    with alive(workspace):
        async with serving(workspace) as task:
            await until(lambda: seen(workspace).state == "refused" or task.done())
            assert seen(workspace).hint == "pommel ssh trial --copy-id"
            assert seen(workspace).keys == (str(workspace.paths("trial").ssh_key),)
            authorized.write_text(kept)
            await asyncio.to_thread(clip.try_again, trial(workspace))
            await until(lambda: seen(workspace).state == "syncing")


async def test_without_a_desktop_it_says_so_and_keeps_that_for_who_asks(workspace: Workspace) -> None:
    bare = Workspace(workspace.home, workspace.cwd, {k: v for k, v in workspace.env.items() if k != "DISPLAY"})
    with pytest.raises(StateError, match="no desktop here"):
        await serve(bare, trial(bare), ClipOptions())
    assert re.search("no desktop here", seen(bare).why)


async def test_files_travel_too_and_are_counted_not_named(
    mac: Mac, tmp_path: Path, display: str, host_clip: Clip
) -> None:
    workspace = machine_behind(mac.sshd, tmp_path / "w", display)
    file = tmp_path / "a plan.txt"
    file.write_text("content")
    with alive(workspace):
        async with serving(workspace) as task:
            await until(lambda: seen(workspace).to_guest >= 1 or task.done())
            host_clip.copy(f"file://{quote(str(file))}\r\n".encode(), "text/uri-list")
            await until(lambda: "public.file-url" in (mac.items() or [{}])[0])
            there = Path(unquote(urlsplit(mac.items()[0]["public.file-url"].decode()).path))
            assert there.name == "a plan.txt" and there.read_text() == "content" and there != file
            await until(lambda: seen(workspace).transfer.startswith("done, 1 file to the guest, 7 B"))
            assert "plan" not in trial(workspace).paths.record.read_text()
