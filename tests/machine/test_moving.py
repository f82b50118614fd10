"""A disk moves to another place, another file system too; killed at each step that changes a file nothing is lost."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pommel import process
from pommel.errors import BuildError, NotPermitted, StateError
from pommel.machine import (
    cloning,
    copying,
    disk,
    folder,
    lifecycle,
    moved,
    moving,
    own_disks,
    permission,
    resizing,
    savestate,
    snapshots,
)
from pommel.machine.permission import working_on
from pommel.paths import Home, MachinePaths
from waits import wait_until

from .bare import argv, make
from .guests import DISK_BYTES, count_in_ram, count_on_disk, drives, make_disk, set_count

_CHANGES = {"os.rename", "os.remove", "os.symlink", "os.link", "os.chmod", "os.truncate"}


@pytest.fixture
def paths(home: Home) -> MachinePaths:
    made = make(home)
    make_disk(made.disk)
    set_count(made.disk, 7)
    return made


@pytest.fixture
def big(home: Home) -> Path:
    """Another folder on the same file system."""
    (home.root.parent / "big drive").mkdir()
    return home.root.parent / "big drive"


@pytest.fixture
def other(home: Home) -> Iterator[Path]:
    """Another file system."""
    folder = home.root.parent / "other"
    folder.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder])
    try:
        yield folder
    finally:
        process.run(["umount", "-l", folder])


@pytest.fixture(params=["same file system", "another file system"])
def place(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.getfixturevalue("big" if request.param == "same file system" else "other")
    return chosen


def lies_at(paths: MachinePaths, file: Path) -> bool:
    """Whether the disk is whole at `file`, the machine has it, and nothing else is left."""
    assert disk.check(paths.disk).sound and count_on_disk(paths.disk) == 7
    left = [path.name for folder in {paths.directory, file.parent} for path in folder.iterdir() if path.name[0] == "."]
    return Path(os.path.realpath(paths.disk)) == file and left == []


def test_there_and_on_and_back(paths: MachinePaths, big: Path, other: Path) -> None:
    file = moving.move(paths, paths.disk, other).new
    assert file == other / "m-mac_hdd_ng.img" and lies_at(paths, file) and file.stat().st_mode & 0o777 == 0o600
    assert moving.move(paths, paths.disk, big / "Mac.qcow2").copies
    assert lies_at(paths, big / "Mac.qcow2") and not list(other.iterdir())
    assert not moving.move(paths, paths.disk, big / "again.qcow2").copies
    assert lies_at(paths, big / "again.qcow2") and [path.name for path in big.iterdir()] == ["again.qcow2"]
    moving.move(paths, paths.disk, paths.directory)
    assert lies_at(paths, paths.disk) and not paths.disk.is_symlink()
    assert not list(big.iterdir()) and not (paths.directory / moved.NAME).exists()


def test_all_else_works_with_a_disk_elsewhere(home: Home, paths: MachinePaths, place: Path) -> None:
    snapshots.save(paths, "before")
    own_disks.add(paths, "data", DISK_BYTES)
    moving.move(paths, paths.disk, place / "a.img")
    moving.move(paths, paths.directory / "disk-data.qcow2", place)
    snapshots.load(paths, "before")
    snapshots.delete(paths, "before")
    resizing.resize(paths, paths.disk, 2 * DISK_BYTES)
    copying.compact(paths.disk)
    full, linked = make(home, "full"), make(home, "linked")
    cloning.clone_disks(paths, full.directory, linked=False)
    cloning.clone_disks(paths, linked.directory, linked=True)
    assert [count_on_disk(each.disk) for each in (paths, full, linked)] == [7, 7, 7]
    assert paths.disk.is_symlink() and not full.disk.is_symlink()
    assert cloning.linked_clones(home.machines, "m") == ["linked"]
    folder.take_away(linked.directory, linked.directory.with_name(".linked.building.deleted"))
    folder.take_away(paths.directory, paths.directory.with_name(".m.building.deleted"))
    assert not list(place.iterdir())  # it belongs to the machine, and went with it
    assert [path.name for path in home.machines.iterdir() if path.is_dir()] == ["full"]


def test_a_disk_that_pommel_did_not_move_stays_when_its_machine_goes(paths: MachinePaths, big: Path) -> None:
    paths.disk.rename(big / "own.img")
    paths.disk.symlink_to(big / "own.img")
    folder.take_away(paths.directory, paths.directory.with_name(".m.building.deleted"))
    assert (big / "own.img").exists()


def test_a_deletion_that_is_cut_off_is_ended_by_the_next_command(home: Home, paths: MachinePaths, big: Path) -> None:
    moving.move(paths, paths.disk, big)
    paths.directory.rename(paths.directory.with_name(".m.building.deleted"))
    with working_on(make(home, "another"), permission.SAVED):
        assert not list(big.iterdir()) and not list(home.machines.glob(".*.building.*"))


def test_linked_clones_stay_valid_or_forbid_it(home: Home, paths: MachinePaths, place: Path) -> None:
    clone = make(home, "clone")
    cloning.clone_disks(paths, clone.directory, linked=True)
    moving.move(paths, paths.disk, place)
    assert count_on_disk(clone.disk) == 7
    moving.move(clone, clone.disk, place)  # its words for what it lies over counted from where it lay
    assert count_on_disk(clone.disk) == 7 and cloning.linked_clones(home.machines, "m") == ["clone"]
    words = ["-b", os.path.realpath(paths.disk), "-F", "qcow2"]
    disk.qemu_img("rebase", "-u", "-f", "qcow2", *words, str(clone.disk))
    with pytest.raises(StateError, match="the disk of clone, a linked clone, needs"):
        moving.move(paths, paths.disk, paths.directory)
    assert count_on_disk(clone.disk) == 7


def test_the_memory_of_a_machine_that_sleeps_goes_along(paths: MachinePaths, place: Path) -> None:
    lifecycle.start(paths, argv(paths, *drives(paths)))
    wait_until(lambda: count_in_ram(paths) > 10)
    with pytest.raises(StateError, match=r"is running .* and cannot be changed by moving its disk"):
        moving.move(paths, paths.disk, place)
    savestate.sleep(paths)
    moving.move(paths, paths.disk, place)
    lifecycle.start(paths, argv(paths, *drives(paths), *savestate.START_ARGS))
    savestate.wake(paths)
    before = count_in_ram(paths)
    assert before > 10
    wait_until(lambda: count_in_ram(paths) > before)


def test_what_cannot_be_is_refused_and_all_stays(home: Home, paths: MachinePaths, big: Path) -> None:
    (big / "taken").write_text("mine")
    (big / "nowhere").symlink_to(big / "gone")
    for path, error, said in (
        (big / "taken", StateError, "the file .*/taken already exists"),
        (big / "nowhere", StateError, "the file .*/nowhere already exists"),
        (big / "no" / "folder.img", StateError, "there is no folder .*/no"),
        (paths.directory, StateError, "is already at .*"),
        (paths.directory / "other.img", StateError, "is called mac_hdd_ng.img"),
        (home.root / "x.img", StateError, "in Pommel's own folder"),
        (make(home, "b").directory, StateError, "in Pommel's own folder"),
    ):
        with pytest.raises(error, match=said):
            moving.move(paths, paths.disk, path)
        assert lies_at(paths, paths.disk) and not paths.disk.is_symlink()
    assert sorted(path.name for path in big.iterdir()) == ["nowhere", "taken"]


def test_too_little_room_is_known_before(paths: MachinePaths, other: Path) -> None:
    (other / "ballast").write_bytes(bytes(56 << 20))
    with pytest.raises(BuildError, match="MiB left, but the disk needs"):
        moving.move(paths, paths.disk, other)
    process.run(["mount", "-o", "remount,ro", other])
    with pytest.raises(NotPermitted, match="mounted read-only"):
        moving.move(paths, paths.disk, other)
    assert lies_at(paths, paths.disk)


@pytest.mark.parametrize("way", ["there", "on", "back"])
def test_killed_at_any_step_nothing_is_lost(paths: MachinePaths, big: Path, place: Path, way: str) -> None:
    """The next command puts it right, and typing it again finishes it."""
    start = paths.disk if way == "there" else big / "old.img"
    target = paths.disk if way == "back" else place / "new.img"
    if way != "there":
        moving.move(paths, paths.disk, start)
    for step in range(1, 60):
        if _killed_at(step, paths, target) == 0:
            break
        assert count_on_disk(paths.disk) == 7, f"step {step}"
        with working_on(paths, permission.SNAPSHOT_DELETED):
            pass
        at_start = lies_at(paths, start)
        assert at_start or lies_at(paths, target), f"step {step}"
        left = target if at_start else start
        assert left == paths.disk or not left.exists(), f"step {step}"
        if at_start:
            moving.move(paths, paths.disk, target)
        assert lies_at(paths, target), f"step {step}"
        moving.move(paths, paths.disk, start)
        assert lies_at(paths, start)
    assert step > 6 and lies_at(paths, target)


def _killed_at(step: int, paths: MachinePaths, target: Path) -> int:
    pid = os.fork()
    if pid == 0:
        count = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            flags = arguments[2] if event == "open" else 0
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if event in _CHANGES or (event == "open" and writes):
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(hook)
            moving.move(paths, paths.disk, target)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status
