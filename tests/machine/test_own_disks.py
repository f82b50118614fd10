"""A machine's disks, by their files' names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pommel.errors import StateError, UsageError
from pommel.machine import disk, own_disks
from pommel.paths import MachinePaths

from .bare import make, short_home

MIB = 1 << 20


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


def test_its_own_then_the_further_ones_by_name(paths: MachinePaths) -> None:
    assert own_disks.all_disks(paths) == [paths.disk]
    for name in ("work", "backup-2"):
        assert own_disks.add(paths, name, 3 * MIB).virtual_bytes == 3 * MIB
    (paths.directory / "disk-No Name.qcow2").touch()
    (paths.directory / "disk-.qcow2").touch()
    assert list(own_disks.data_disks(paths)) == ["backup-2", "work"]
    assert [path.name for path in own_disks.all_disks(paths)][1:] == ["disk-backup-2.qcow2", "disk-work.qcow2"]
    assert disk.header(own_disks.data_path(paths, "work")).virtual_bytes == 3 * MIB


def test_one_that_is_there_is_kept(paths: MachinePaths) -> None:
    own_disks.add(paths, "work", MIB)
    with pytest.raises(StateError, match="already exists"):
        own_disks.add(paths, "work", MIB)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "-x", "x" * 33, "a.b"])
def test_names_that_cannot_be(paths: MachinePaths, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a disk's name"):
        own_disks.add(paths, name, MIB)
    assert list(paths.directory.iterdir()) == []
