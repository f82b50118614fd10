"""Clones: whose disk lies over whose, by the real qemu-img."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pommel.errors import StateError
from pommel.machine import cloning, disk, lifecycle, own_disks
from pommel.paths import Home, MachinePaths

from .bare import argv, make
from .guests import MIB, NVRAM, count_on_disk, make_disk, set_count


@pytest.fixture
def base(home: Home) -> MachinePaths:
    made = make(home, "base")
    make_disk(made.disk)
    made.nvram.write_bytes(NVRAM)
    return made


def clone(home: Home, base: MachinePaths, name: str, *, linked: bool = True) -> MachinePaths:
    """As the app does it: built aside, then renamed into place."""
    made = home.machine(name)
    aside = made.directory.with_name(f".{name}.building.x")
    aside.mkdir()
    cloning.clone_disks(base, aside, linked=linked)
    aside.rename(made.directory)
    return made


def test_a_linked_clone_holds_what_differs(home: Home, base: MachinePaths) -> None:
    set_count(base.disk, 5)
    new = clone(home, base, "new")
    assert count_on_disk(new.disk) == 5 and new.nvram.read_bytes() == NVRAM
    set_count(new.disk, 6)
    assert (count_on_disk(base.disk), count_on_disk(new.disk)) == (5, 6)
    assert disk.header(new.disk).backing == "../base/mac_hdd_ng.img"
    assert disk.info(new.disk).actual_bytes < MIB
    assert cloning.linked_clones(home.machines, "base") == ["new"]
    assert cloning.linked_clones(home.machines, "new") == []


def test_a_linked_clone_moves_with_its_home(home: Home, base: MachinePaths) -> None:
    set_count(base.disk, 5)
    new = clone(home, base, "new")
    moved = home.root.rename(home.root.with_name("moved"))
    assert count_on_disk(moved / "machines" / "new" / new.disk.name) == 5
    moved.rename(home.root)


def test_a_full_clone_stands_alone(home: Home, base: MachinePaths) -> None:
    set_count(base.disk, 5)
    disk.qemu_img("snapshot", "-c", "one", str(base.disk))
    new = clone(home, base, "new", linked=False)
    assert cloning.linked_clones(home.machines, "base") == []
    base.disk.unlink()
    assert count_on_disk(new.disk) == 5 and disk.snapshot_tags(new.disk) == {}


def test_further_disks_are_cloned_too(home: Home, base: MachinePaths) -> None:
    own_disks.add(base, "data", MIB)
    new = clone(home, base, "new")
    assert list(own_disks.data_disks(new)) == ["data"]
    assert cloning.backing_of(own_disks.data_path(new, "data")) == own_disks.data_path(base, "data").resolve()


def test_a_machine_without_nvram_is_cloned_without(home: Home, base: MachinePaths) -> None:
    base.nvram.unlink()
    assert not clone(home, base, "new").nvram.exists()


def test_a_base_is_refused_by_the_names_of_its_clones(home: Home, base: MachinePaths) -> None:
    cloning.refuse_if_base(home.machines, "base", "started")
    names = [f"c{number}" for number in range(7)]
    for name in names:
        clone(home, base, name)
    with pytest.raises(StateError, match=r"base cannot be started: .*\(c0, c1, c2, c3, c4 and 2 more\)"):
        cloning.refuse_if_base(home.machines, "base", "started")
    assert cloning.linked_clones(home.machines, "base") == names


def test_a_clone_of_a_clone(home: Home, base: MachinePaths) -> None:
    middle = clone(home, base, "middle")
    clone(home, middle, "top")
    assert cloning.linked_clones(home.machines, "base") == ["middle"]
    assert cloning.linked_clones(home.machines, "middle") == ["top"]


def test_links_are_seen_through_another_name_of_the_home(home: Home, base: MachinePaths, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(home.root)
    other = make(home, "other")
    disk.create(other.disk, backing=tmp_path / "alias" / "machines" / "base" / base.disk.name)
    assert cloning.linked_clones(home.machines, "base") == ["other"]
    assert cloning.linked_clones(tmp_path / "alias" / "machines", "base") == ["other"]


def test_what_cannot_be_read_lies_over_nothing(home: Home, base: MachinePaths) -> None:
    other = make(home, "other")
    other.disk.write_bytes(b"QFI\xfb" + bytes(10))
    os.mkfifo(other.directory / "pipe.img")
    (other.directory / "gone.img").symlink_to("nowhere")
    aside = home.machines / ".new.building.x"
    aside.mkdir()
    disk.create(aside / "mac_hdd_ng.img", backing=base.disk)
    assert cloning.linked_clones(home.machines, "base") == []
    assert cloning.linked_clones(home.root / "nowhere", "base") == []


def test_a_running_machine_is_not_cloned(home: Home, base: MachinePaths) -> None:
    lifecycle.start(base, argv(base))
    with pytest.raises(StateError, match=r"base is running \(pid \d+\) and cannot be cloned"):
        cloning.clone_disks(base, home.machines / "new", linked=True)
    assert not (home.machines / "new").exists()


def test_a_machine_without_a_disk_is_not_cloned(home: Home) -> None:
    made = make(home, "bare")
    with pytest.raises(StateError, match="there is no disk"):
        cloning.clone_disks(made, home.machines / "new", linked=True)


def test_a_base_whose_disk_lies_elsewhere_is_a_base_all_the_same(home: Home, base: MachinePaths) -> None:
    elsewhere = base.disk.rename(home.root / "elsewhere.qcow2")
    base.disk.symlink_to(elsewhere)
    set_count(base.disk, 5)
    new = clone(home, base, "new")
    assert cloning.linked_clones(home.machines, "base") == ["new"] and count_on_disk(new.disk) == 5
