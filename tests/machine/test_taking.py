"""Images of other tools: who writes to them, whole copies, moves; against the real QEMU's locks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pommel.errors import BuildError, StateError
from pommel.machine import disk, taking

from .guests import count_on_disk, make_disk, set_count

MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "old").mkdir()
    return make_disk(tmp_path / "old" / "disk.qcow2")


def qemu(image: Path) -> subprocess.Popen[bytes]:
    """A QEMU that holds the image, and says so by its first prompt."""
    words = ["-M", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    drive = ["-drive", f"if=none,format=qcow2,file={image}"]
    return subprocess.Popen(
        ["qemu-system-x86_64", *words, *drive], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_a_running_qemu_is_seen_and_named(image: Path) -> None:
    assert taking.user_of(image) is None
    with qemu(image) as running:
        assert running.stdout is not None and b"QMP" in running.stdout.readline()
        with pytest.raises(StateError, match=rf"in use by qemu-system-x86.* \(pid {running.pid}\)"):
            taking.refuse_if_used(image)
        running.kill()
    assert taking.user_of(image) is None


def test_no_qemu_starts_while_an_image_is_kept_still(image: Path) -> None:
    with taking.kept_still(image):
        assert taking.user_of(image) is None
        disk.qemu_img("info", str(image))  # who only reads may
        with qemu(image) as refused:
            assert refused.wait(20) == 1
            assert refused.stderr is not None and b'Failed to get "write" lock' in refused.stderr.read()
    with qemu(image) as running:
        assert running.stdout is not None and b"QMP" in running.stdout.readline()
        running.kill()


def test_somebody_without_a_lock_is_seen_by_what_he_has_open(image: Path) -> None:
    with image.open("r+b"), pytest.raises(StateError, match=r"in use by .*pid"):
        taking.refuse_if_used(image)


def test_a_copy_keeps_snapshots_data_and_holes(image: Path, tmp_path: Path) -> None:
    set_count(image, 5)
    disk.qemu_img("snapshot", "-c", "kept", str(image))
    set_count(image, 6)
    with image.open("r+b") as file:
        file.truncate(64 * MIB)
    target = tmp_path / "copy.qcow2"
    taking.copy_image(image, target)
    assert count_on_disk(target) == 6 and list(disk.snapshot_tags(target)) == ["kept"]
    assert target.stat().st_blocks * 512 < 8 * MIB and target.stat().st_size == 64 * MIB
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.qcow2", "old"]


def test_a_source_that_changes_meanwhile_gives_no_copy(image: Path, tmp_path: Path) -> None:
    def meddle(_: object) -> None:
        os.utime(image, ns=(1, 1))

    with pytest.raises(BuildError, match="changed while it was copied"):
        taking.copy_image(image, tmp_path / "copy", report=meddle)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]


def test_a_move_takes_the_place_of_a_link(image: Path, tmp_path: Path) -> None:
    set_count(image, 9)
    link = tmp_path / "disk.img"
    link.symlink_to(image)
    taking.move_image(image, link)
    assert not link.is_symlink() and not image.exists() and count_on_disk(link) == 9


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="no second file system")
def test_a_move_to_another_drive(image: Path) -> None:
    set_count(image, 9)
    elsewhere = Path("/dev/shm") / f"pommel-test-{os.getpid()}.img"
    try:
        elsewhere.symlink_to(image)
        taking.move_image(image, elsewhere)
        assert not elsewhere.is_symlink() and not image.exists() and count_on_disk(elsewhere) == 9
    finally:
        elsewhere.unlink(missing_ok=True)
