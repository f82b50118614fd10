"""What is written down of a sync, and what counts of it when its process is gone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pommel import locks
from pommel.app.clip import status as clip_status
from pommel.app.clip.options import ClipOptions
from pommel.app.clip.status import ClipStatus
from pommel.app.clip.target import Guest
from pommel.app.workspace import Workspace
from pommel.clipboard.carrying import Transfer, TransferStage
from pommel.clipboard.content import HeldBack
from pommel.clipboard.engine import Side
from pommel.clipboard.sync import SyncMoment, SyncState
from pommel.paths import ClipPaths, Home


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), tmp_path, {})


@pytest.fixture
def paths(workspace: Workspace) -> ClipPaths:
    made = workspace.home.clip("mac")
    made.make()
    return made


def guest(paths: ClipPaths, machine: str | None = "mac") -> Guest:
    return Guest("mac", paths, ("mac",), ("/k/id",), "pommel ssh mac --copy-id", machine)


def test_a_sync_that_lives_says_how_it_is_and_one_that_was_killed_does_not(paths: ClipPaths) -> None:
    status = clip_status.status_of(
        SyncMoment(state=SyncState.SYNCING), guest(paths), ClipOptions(), alive=True, since=1.0
    )
    with locks.hold(paths.lock, busy=""):
        assert clip_status.look(paths, "mac").state == "connecting"
        clip_status.keep(paths, status)
        assert paths.record.stat().st_mode & 0o777 == 0o600
        assert clip_status.look(paths, "mac") == status and status.running
        # What another process wrote that was killed since counts no more.
        clip_status.keep(paths, ClipStatus("mac", state="syncing", pid=1))
        assert clip_status.look(paths, "mac").state == "connecting"
    seen = clip_status.look(paths, "mac")
    assert (seen.state, seen.running) == ("stopped", False)
    assert seen.why == "its process (pid 1) was killed, or the host went down"
    clip_status.forget(paths)
    assert clip_status.look(paths, "mac") == ClipStatus("mac")


def test_last_words_are_heard(workspace: Workspace, paths: ClipPaths) -> None:
    assert clip_status.all_of(workspace) == []
    paths.lock.touch()
    clip_status.keep(paths, ClipStatus("mac", why="the X server is gone", hint="log in"))
    (seen,) = clip_status.all_of(workspace)
    assert (seen.guest, seen.state, seen.why, seen.hint) == ("mac", "stopped", "the X server is gone", "log in")


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"guest": "m", "nonsense": 1}', "{}", "\x00"])
def test_a_file_that_is_none_counts_as_none(paths: ClipPaths, text: str) -> None:
    paths.record.write_text(text)
    assert clip_status.look(paths, "mac") == ClipStatus("mac")


def test_nothing_of_a_clipboard_is_written(paths: ClipPaths) -> None:
    seen = SyncMoment(stayed_on_host=HeldBack.SECRET, latency_s=0.0123, last_change=5.0)
    clip_status.keep(paths, clip_status.status_of(seen, guest(paths), ClipOptions(), alive=True, since=1.0))
    told = json.loads(paths.record.read_text())
    assert told["stayed_on_host"] == "marked as a secret" and told["latency_ms"] == 12.3


def test_files_are_counted_and_not_named(paths: ClipPaths) -> None:
    under_way = Transfer(
        Side.GUEST, ("secret plan.odt",), TransferStage.COPYING, 2, 1 << 20, 3 << 20, 1, 2, ("secret keys",)
    )
    status = clip_status.status_of(SyncMoment(transfer=under_way), guest(paths), ClipOptions(), alive=True, since=1.0)
    assert status.transfer == "copying, 2 files to the guest, 1 MiB of 3 MiB; 1 left out; 2 could not be read"
    clip_status.keep(paths, status)
    assert "secret" not in paths.record.read_text()


def test_what_a_person_can_do_is_said(paths: ClipPaths) -> None:
    def told(seen: SyncMoment, machine: str | None = "mac", *, alive: bool = True) -> tuple[str, str, str | None]:
        status = clip_status.status_of(seen, guest(paths, machine), ClipOptions(), alive=alive, since=0)
        return status.state, status.why, status.hint

    asleep = SyncMoment(state=SyncState.ASLEEP, why="no connection to the guest: refused")
    assert told(asleep, alive=False) == ("guest asleep", "mac is not running", "pommel start mac")
    assert told(asleep)[1] == "the guest does not answer SSH (yet): refused"
    assert told(asleep, None)[1] == "no connection to the guest: refused"
    assert told(SyncMoment(state=SyncState.REFUSED, hint="ssh-keygen -R mac"))[2] == "ssh-keygen -R mac"
    assert told(SyncMoment(state=SyncState.SYNCING), alive=False)[0] == "syncing"
