"""Disks made larger, under a QEMU and without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pommel.errors import BuildError, StateError, UsageError
from pommel.machine import disk, lifecycle, own_disks, resizing
from pommel.paths import MachinePaths

from .bare import argv, make, short_home
from .guests import MIB, ask, count_on_disk, drives, make_disk, set_count


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        made = make(home)
        make_disk(made.disk)
        yield made


def test_of_a_stopped_machine(paths: MachinePaths) -> None:
    set_count(paths.disk, 5)
    assert resizing.resize(paths, paths.disk, 64 * MIB).virtual_bytes == 64 * MIB
    assert count_on_disk(paths.disk) == 5


def test_of_a_running_machine(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *drives(paths)))
    assert resizing.resize(paths, paths.disk, 64 * MIB).virtual_bytes == 64 * MIB
    (block,) = (block for block in ask(paths, "query-block") if block["device"] == "MacHDD")  # type: ignore[attr-defined]
    assert block["inserted"]["image"]["virtual-size"] == 64 * MIB
    lifecycle.stop(paths, force=True)
    assert disk.check(paths.disk).sound


def test_with_snapshots_in_it(paths: MachinePaths) -> None:
    disk.qemu_img("snapshot", "-c", "one", str(paths.disk))
    assert resizing.resize(paths, paths.disk, 64 * MIB).virtual_bytes == 64 * MIB


def test_the_same_size_is_fine(paths: MachinePaths) -> None:
    before = disk.info(paths.disk)
    assert resizing.resize(paths, paths.disk, before.virtual_bytes) == before


def test_never_smaller(paths: MachinePaths) -> None:
    with pytest.raises(UsageError, match="cannot shrink"):
        resizing.resize(paths, paths.disk, MIB)
    with pytest.raises(UsageError, match="multiple of 512"):
        resizing.resize(paths, paths.disk, 64 * MIB + 1)


def test_what_is_not_there(paths: MachinePaths) -> None:
    with pytest.raises(StateError, match="there is no disk"):
        resizing.resize(paths, paths.directory / "nowhere.img", MIB)
    lifecycle.start(paths, argv(paths, *drives(paths)))
    other = own_disks.add(paths, "data", MIB).path
    with pytest.raises(StateError, match="not among its disks"):
        resizing.resize(paths, other, 2 * MIB)


def test_what_qemu_img_refuses(paths: MachinePaths) -> None:
    with pytest.raises(BuildError, match="qemu-img failed"):
        resizing.resize(paths, paths.disk, 1 << 62)
    assert disk.check(paths.disk).sound
