"""Disks by the real qemu-img."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import process
from pommel.errors import BuildError, MissingProgram, StateError
from pommel.machine import disk, lifecycle
from pommel.paths import MachinePaths

from .bare import argv, make, short_home

GIB = 1 << 30


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


def test_an_empty_disk_grows_later(tmp_path: Path) -> None:
    made = disk.create(tmp_path / "new" / "a.img", 64 * GIB)
    assert made.format == "qcow2" and made.virtual_bytes == 64 * GIB
    assert made.actual_bytes < 1 << 20
    assert made.backing is None and made.backing_format is None
    assert disk.info(made.path) == made
    assert [entry.name for entry in made.path.parent.iterdir()] == ["a.img"]


@pytest.mark.parametrize("name", ["plain", "with blank", "with,comma", "with:colon", "-dash", "ünïcode"])
def test_a_disk_over_another(tmp_path: Path, name: str) -> None:
    base = disk.create(tmp_path / f"{name}.base", GIB)
    made = disk.create(tmp_path / f"{name}.img", backing=base.path)
    assert made.virtual_bytes == GIB
    assert made.backing == base.path and made.backing_format == "qcow2"
    larger = disk.create(tmp_path / f"{name}.larger", 2 * GIB, backing=base.path)
    assert larger.virtual_bytes == 2 * GIB


def test_a_disk_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.img"
    path.write_bytes(b"precious")
    with pytest.raises(StateError, match="already exists"):
        disk.create(path, GIB)
    assert path.read_bytes() == b"precious"


def test_too_little_room(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"MiB left, and \d+ MiB are needed") as failure:
        disk.create(tmp_path / "a.img", GIB, room_bytes=1 << 62)
    assert failure.value.hint and "df -h" in failure.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_base_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"base\.img.* does not exist"):
        disk.create(tmp_path / "a.img", backing=tmp_path / "base.img")


def test_what_qemu_img_refuses_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="qemu-img failed"):
        disk.create(tmp_path / "a.img", 1 << 62)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="cannot be created"):
        disk.create(tmp_path / "file" / "a.img", GIB)


def test_no_disk_no_info(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no disk"):
        disk.info(tmp_path / "a.img")


def test_an_image_that_is_damaged(tmp_path: Path) -> None:
    made = disk.create(tmp_path / "a.img", GIB)
    made.path.write_bytes(made.path.read_bytes()[:50])
    with pytest.raises(BuildError, match="qemu-img failed"):
        disk.info(made.path)


def test_a_disk_that_a_running_machine_writes_to(paths: MachinePaths) -> None:
    made = disk.create(paths.disk, GIB)
    lifecycle.start(paths, argv(paths, "-drive", f"format=qcow2,file={paths.disk}"))
    assert disk.info(paths.disk).virtual_bytes == made.virtual_bytes


def test_no_qemu_img_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgram, match="qemu-img is not installed") as failure:
        disk.create(tmp_path / "a.img", GIB)
    assert failure.value.hint and "qemu-utils" in failure.value.hint
    assert list(tmp_path.iterdir()) == []


def test_free_bytes(tmp_path: Path) -> None:
    assert disk.free_bytes(tmp_path) > 0


def test_a_disk_over_another_by_a_relative_name(tmp_path: Path) -> None:
    base = disk.create(tmp_path / "one" / "base.img", GIB)
    made = disk.create(tmp_path / "two" / "a.img", backing=base.path, relative=True)
    assert disk.header(made.path).backing == "../one/base.img"
    assert made.backing is not None and made.backing.resolve() == base.path


def test_snapshot_tags(tmp_path: Path) -> None:
    made = disk.create(tmp_path / "a.img", GIB)
    assert disk.snapshot_tags(made.path) == {}
    disk.qemu_img("snapshot", "-c", "one", str(made.path))
    assert disk.snapshot_tags(made.path) == {"one": 0}


def test_check_a_sound_disk(tmp_path: Path) -> None:
    assert disk.check(disk.create(tmp_path / "a.img", GIB).path) == disk.DiskCheck(sound=True, leaked=0)


def test_check_a_damaged_disk(tmp_path: Path) -> None:
    path = disk.create(tmp_path / "a.img", GIB).path
    process.run(["qemu-io", "-c", "write 0 1M", path])
    with path.open("r+b") as file:
        file.seek(2 << 16)  # the first block of reference counts: now nothing is in use
        file.write(bytes(1 << 16))
    found = disk.check(path)
    assert not found.sound and found.detail == "it has errors"


def test_check_lost_clusters(tmp_path: Path) -> None:
    path = disk.create(tmp_path / "a.img", GIB).path
    with path.open("r+b") as file:
        file.seek((2 << 16) + 2 * 20)  # the count of the twentieth cluster, which nothing refers to
        file.write(b"\0\1")
        file.seek(0, 2)
        file.truncate(32 << 16)
    assert disk.check(path) == disk.DiskCheck(
        sound=True, leaked=1, detail="it has lost clusters, which only waste disk space"
    )


def test_check_what_cannot_be(paths: MachinePaths) -> None:
    with pytest.raises(StateError, match="there is no disk"):
        disk.check(paths.disk)
    disk.create(paths.disk, GIB)
    lifecycle.start(paths, argv(paths, "-drive", f"format=qcow2,file={paths.disk}"))
    with pytest.raises(BuildError, match="cannot be checked"):
        disk.check(paths.disk)
