"""Folders and disks that are links to another drive."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pommel.errors import StateError
from pommel.machine import cloning, copying, disk, folder, own_disks, resizing
from pommel.paths import Home, MachinePaths

from .bare import make
from .guests import count_on_disk, make_disk, set_count


@pytest.fixture
def linked(home: Home) -> MachinePaths:
    """A machine whose disk is on another drive."""
    made = make(home, "base")
    big = home.root / "big drive"
    big.mkdir()
    make_disk(big / "old.img")
    made.disk.symlink_to(big / "old.img")
    return made


def test_the_guard_sees_a_base_through_its_link(home: Home, linked: MachinePaths) -> None:
    new = make(home, "new")
    cloning.clone_disks(linked, new.directory, linked=True)
    assert cloning.linked_clones(home.machines, "base") == ["new"]
    with pytest.raises(StateError, match="linked clones"):
        cloning.refuse_if_base(home.machines, "base", "deleted")


def test_the_guard_knows_a_base_by_the_name_of_its_target(home: Home, linked: MachinePaths) -> None:
    new = make(home, "new")
    disk.create(new.disk, backing=linked.disk.resolve())
    assert cloning.linked_clones(home.machines, "base") == ["new"]


def test_the_guard_sees_a_base_whose_folder_is_a_link(home: Home, linked: MachinePaths) -> None:
    elsewhere = home.root / "elsewhere"
    linked.directory.rename(elsewhere)
    linked.directory.symlink_to(elsewhere)
    new = make(home, "new")
    cloning.clone_disks(linked, new.directory, linked=True)
    assert cloning.linked_clones(home.machines, "base") == ["new"]


def test_compact_keeps_the_link_and_writes_beside_its_target(home: Home, linked: MachinePaths) -> None:
    set_count(linked.disk, 7)
    before = os.stat(linked.disk).st_ino
    copying.compact(linked.disk)
    assert linked.disk.is_symlink() and os.stat(linked.disk).st_ino != before
    assert count_on_disk(linked.disk) == 7
    assert [path.name for path in (home.root / "big drive").iterdir()] == ["old.img"]


def test_compact_of_a_linked_clone_behind_a_link_keeps_its_words(home: Home, linked: MachinePaths) -> None:
    set_count(linked.disk, 3)
    new = make(home, "new")
    cloning.clone_disks(linked, new.directory, linked=True)
    moved = home.root / "big drive" / "new.img"
    new.disk.rename(moved)
    new.disk.symlink_to(moved)
    words = disk.header(new.disk).backing
    copying.compact(new.disk)
    assert new.disk.is_symlink() and disk.header(new.disk).backing == words
    assert count_on_disk(new.disk) == 3
    assert cloning.linked_clones(home.machines, "base") == ["new"]


def test_resize_and_full_clone_follow_the_link(home: Home, linked: MachinePaths) -> None:
    resizing.resize(linked, linked.disk, 16 << 20)
    assert linked.disk.is_symlink() and disk.info(linked.disk).virtual_bytes == 16 << 20
    new = make(home, "new")
    cloning.clone_disks(linked, new.directory, linked=False)
    assert not new.disk.is_symlink() and own_disks.all_disks(new) == [new.disk]


def test_removal_takes_the_link_of_a_disk_and_leaves_the_disk(home: Home, linked: MachinePaths) -> None:
    target = linked.disk.resolve()
    folder.take_away(linked.directory, home.machines / ".base.building.deleted")
    assert target.exists() and list(home.machines.iterdir()) == []


def test_removal_of_a_linked_folder_takes_what_is_the_machines_and_the_link(home: Home, linked: MachinePaths) -> None:
    elsewhere = home.root / "elsewhere"
    linked.directory.rename(elsewhere)
    linked.directory.symlink_to(elsewhere)
    (elsewhere / "holiday.jpg").write_bytes(b"mine")
    (elsewhere / "ssh").mkdir()
    folder.take_away(linked.directory, home.machines / ".base.building.deleted")
    assert [path.name for path in elsewhere.iterdir()] == ["holiday.jpg"]
    assert list(home.machines.iterdir()) == []
    (elsewhere / "holiday.jpg").unlink()


def test_removal_of_a_linked_folder_leaves_no_empty_folder(home: Home, linked: MachinePaths, tmp_path: Path) -> None:
    elsewhere = home.root / "elsewhere"
    linked.directory.rename(elsewhere)
    linked.directory.symlink_to(elsewhere)
    folder.take_away(linked.directory, home.machines / ".base.building.deleted")
    assert not elsewhere.exists()
