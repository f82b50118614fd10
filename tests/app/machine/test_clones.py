"""Clones, and what a linked clone forbids its base even when it is made at the last moment."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from machine.bare import finish, pommel, short_home
from machine.guests import count_on_disk, make_disk, set_count
from pommel import locks
from pommel.app.argv.commandline import new_record
from pommel.app.disk import disks, snapshots
from pommel.app.machine import clones, machines, power
from pommel.app.workspace import Workspace
from pommel.errors import BusyError, StateError
from pommel.machine import naming, record
from pommel.machine.identity import RANDOM_BYTES
from pommel.machine.snapshot_record import SLEEP_TAG
from pommel.paths import MachinePaths


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with short_home() as home:
        yield Workspace(home, home.root.parent, {"HOME": str(home.root.parent), "XDG_DATA_HOME": str(home.root.parent)})


@pytest.fixture
def base(workspace: Workspace) -> MachinePaths:
    paths = workspace.paths("trial")
    paths.directory.mkdir(parents=True)
    record.save(
        paths.record, new_record(workspace.spec("trial"), bytes(RANDOM_BYTES), created="2026-01-01T00:00:00+00:00")
    )
    make_disk(paths.disk)
    set_count(paths.disk, 1)
    return paths


def sleeps(paths: MachinePaths, workspace: Workspace) -> None:
    """Have the machine sleep, as far as anybody sees who does not wake it."""
    snapshots.save("trial", "any", workspace=workspace)
    folder = paths.directory / "snapshots"
    told = json.loads((folder / "any" / "snapshot.json").read_text())
    (folder / SLEEP_TAG).mkdir()
    (folder / SLEEP_TAG / "snapshot.json").write_text(json.dumps({**told, "tag": SLEEP_TAG, "ram": True}))


BASE_KEEPS: dict[str, Callable[[Workspace], object]] = {
    "restored from a snapshot": lambda w: snapshots.load("trial", "old", workspace=w),
    "resized": lambda w: disks.resize("trial", 16 << 20, workspace=w),
    "compacted": lambda w: disks.compact("trial", workspace=w),
    "renamed": lambda w: clones.rename("trial", "other", workspace=w),
    "deleted": lambda w: machines.delete("trial", workspace=w),
    "started": lambda w: power.start("trial", workspace=w),
}


def at_the_last_moment(monkeypatch: pytest.MonkeyPatch, paths: MachinePaths, act: Callable[[], object]) -> None:
    """Have somebody else act just before the machine's lock is had, which they can."""
    real, acted = locks.hold, list[bool]()

    @contextlib.contextmanager
    def hold(path: Path, *, busy: str, wait_s: float = 0.0) -> Iterator[None]:
        if path == paths.lock and not acted:
            acted.append(True)
            act()
        with real(path, busy=busy, wait_s=wait_s):
            yield

    monkeypatch.setattr(locks, "hold", hold)


@pytest.mark.parametrize("done", BASE_KEEPS)
def test_a_linked_clone_made_before_the_lock_is_had_counts(
    workspace: Workspace, base: MachinePaths, done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots.save("trial", "old", workspace=workspace)
    set_count(base.disk, 2)
    at_the_last_moment(monkeypatch, base, lambda: clones.clone("trial", "c1", linked=True, workspace=workspace))
    with pytest.raises(StateError, match=rf"trial cannot be {done}: .*linked clones.*\(c1\)"):
        BASE_KEEPS[done](workspace)
    assert count_on_disk(workspace.paths("c1").disk) == 2


@pytest.mark.parametrize("done", ["restored from a snapshot", "resized", "compacted", "started"])
def test_a_machine_made_golden_before_the_lock_is_had_is_golden(
    workspace: Workspace, base: MachinePaths, done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots.save("trial", "old", workspace=workspace)
    before = base.disk.read_bytes()
    at_the_last_moment(monkeypatch, base, lambda: clones.golden("trial", workspace=workspace))
    with pytest.raises(StateError, match=f"trial is golden and cannot be {done}"):
        BASE_KEEPS[done](workspace)
    assert base.disk.read_bytes() == before


def test_no_linked_clone_is_made_while_its_base_is_worked_on(workspace: Workspace, base: MachinePaths) -> None:
    code = """
    from pommel.machine.exclusive import serialised
    with serialised(paths):
        print("held", flush=True)
        sys.stdin.readline()
    """
    with pommel(code, base, stdin=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None and other.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=f"working on trial .pid {other.pid}"):
            clones.clone("trial", "c1", linked=True, workspace=workspace)
        assert not workspace.paths("c1").directory.exists()
        assert finish(other)[0] == 0
    clones.clone("trial", "c1", linked=True, workspace=workspace)


MEMORY_FORBIDS: dict[str, Callable[[Workspace], object]] = {
    "restored from a snapshot": lambda w: snapshots.load("trial", "any", workspace=w),
    "resized": lambda w: disks.resize("trial", 16 << 20, workspace=w),
    "compacted": lambda w: disks.compact("trial", workspace=w),
    "given another disk": lambda w: disks.add("trial", "more", 1 << 20, workspace=w),
    "cloned": lambda w: clones.clone("trial", "c1", workspace=w),
    "made golden": lambda w: clones.golden("trial", workspace=w),
}


@pytest.mark.parametrize("done", MEMORY_FORBIDS)
def test_a_sleeping_machine_says_no_and_how_to_wake_it(workspace: Workspace, base: MachinePaths, done: str) -> None:
    sleeps(base, workspace)
    before = base.disk.read_bytes()
    with pytest.raises(StateError, match=f"trial sleeps and cannot be {done}") as refusal:
        MEMORY_FORBIDS[done](workspace)
    assert "pommel start trial" in str(refusal.value.hint) and "pommel wake trial --forget" in str(refusal.value.hint)
    assert base.disk.read_bytes() == before and workspace.home.names() == ["trial"]


def test_a_sleeping_machine_may_be_looked_at_saved_and_renamed(workspace: Workspace, base: MachinePaths) -> None:
    sleeps(base, workspace)
    assert disks.check("trial", workspace=workspace).sound
    assert "the machine sleeps" in snapshots.save("trial", "more", workspace=workspace).note
    snapshots.delete("trial", "more", workspace=workspace)
    clones.rename("trial", "other", workspace=workspace)
    assert machines.status("other", workspace=workspace).state == "asleep"


def test_a_sleeping_machine_keeps_its_record_from_a_word_for_another_start(
    workspace: Workspace, base: MachinePaths
) -> None:
    sleeps(base, workspace)
    with pytest.raises(StateError, match="would wake in its saved state"):
        power.start("trial", installed=True, workspace=workspace)
    assert record.load(base.record).installed is None


def test_a_rename_that_was_cut_off_is_put_right_by_the_next_command(workspace: Workspace, base: MachinePaths) -> None:
    """Killed when the new name was in its files, and its folder had the old one."""
    base.known_hosts.parent.mkdir()
    base.known_hosts.write_text("trial ssh-ed25519 AAAA\n")
    naming.write(base, "other")
    assert record.load(base.record).name == "other" and base.known_hosts.read_text().startswith("other ")
    snapshots.save("trial", "any", workspace=workspace)
    assert record.load(base.record).name == "trial" and base.known_hosts.read_text() == "trial ssh-ed25519 AAAA\n"
