"""The disk with the stand-in for Recovery, made of a small base. Booting it is the business of tests/e2e."""

from __future__ import annotations

import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from isolation import patient
from pommel import process
from pommel.errors import BuildError
from pommel.progress import Progress, ignore
from pommel.trial import base_system, upstream
from pommel.trial.base import BaseImage

DATA = Path(base_system.__file__).parent / "data/base_system"
SCRIPTS = [path for path in DATA.rglob("*") if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/bin/bash", b"# shellcheck"))]  # fmt: skip


@pytest.fixture
def base(tmp_path: Path) -> BaseImage:
    """An ext4 image with the few folders of a base that matter here."""
    made = BaseImage(tmp_path / "0123456789abcdef")
    tree = tmp_path / "tree"
    (tree / "etc/systemd/system").mkdir(parents=True)
    (tree / "etc/fstab").write_text("LABEL=TrialHD / ext4\n")
    made.directory.mkdir()
    process.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "TrialHD", "-d", tree, made.root_image, "16M"])
    return made


def inside(image: Path, request: str) -> str:
    return process.run([process.which("debugfs"), "-R", request, image]).stdout.decode()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True)
    assert done.stdout == "", done.stdout


def test_the_disk_has_the_bases_files_and_the_stand_ins_as_programs(base: BaseImage, tmp_path: Path) -> None:
    folder = tmp_path / "upstream"
    folder.mkdir()
    image = base_system.provide(folder, base, report=ignore)
    assert image == folder / "BaseSystem.img"
    assert b"TrialBase" in process.run(["blkid", "-p", "-s", "LABEL", image]).stdout
    assert process.run(["blkid", "-p", "-s", "LABEL", "-o", "value", base.root_image]).text == "TrialHD\n"
    assert inside(image, "cat /etc/fstab") == (DATA / "etc/fstab").read_text()
    app = '"/Install macOS Stand-in.app/Contents/Resources/startosinstall"'
    assert "Mode:  0755" in inside(image, f"stat {app}") and "User:     0" in inside(image, f"stat {app}")
    assert "Mode:  0644" in inside(image, "stat /etc/fstab")
    assert "Type: directory" in inside(image, "stat /Volumes")
    process.run([process.which("e2fsck"), "-fn", image])


def test_it_is_made_once_and_anew_for_another_base(base: BaseImage, tmp_path: Path) -> None:
    folder = tmp_path / "upstream"
    folder.mkdir()
    told: list[Progress] = []
    made = [base_system.provide(folder, base, report=told.append).stat().st_ino for _ in range(2)]
    assert made[0] == made[1] and len(told) == 2
    (folder / ".BaseSystem.building").mkdir()  # what a killed one left
    other = BaseImage(base.directory.rename(base.directory.with_name("f" * 16)))
    assert base_system.provide(folder, other, report=told.append).stat().st_ino != made[0]
    assert sorted(path.name for path in folder.iterdir()) == [".BaseSystem.made-from", "BaseSystem.img"]


def test_an_upstream_is_not_replaced_while_it_gets_the_stand_in_and_keeps_it(base: BaseImage, tmp_path: Path) -> None:
    base.picker.write_bytes(b"picker")
    target = upstream.materialise(tmp_path / "up" / "trial", base)
    newer = BaseImage(tmp_path / "f00f00f00f00f00f")
    shutil.copytree(base.directory, newer.directory)
    building, go_on = threading.Event(), threading.Event()

    def pause(_progress: Progress) -> None:
        building.set()
        go_on.wait(patient(60))

    with ThreadPoolExecutor(2) as threads:
        try:
            made = threads.submit(base_system.provide, target, base, report=pause)
            assert building.wait(patient(60))
            replaced = threads.submit(upstream.materialise, target, newer)
            with pytest.raises(TimeoutError):
                replaced.result(1)
        finally:
            go_on.set()
        image = made.result()
        replaced.result()
    kept = image.stat().st_ino
    assert newer.key in (target / ".made-from").read_text() and (target / upstream.SCRIPT).exists()
    assert base_system.provide(target, base, report=ignore).stat().st_ino == kept  # its stamp came along
    assert base_system.provide(target, newer, report=ignore).stat().st_ino != kept
    assert [path.name for path in target.parent.iterdir() if "building" in path.name] == []


def test_it_makes_no_upstream_of_its_own(base: BaseImage, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="does not exist"):
        base_system.provide(tmp_path / "up" / "trial", base, report=ignore)
    assert not upstream.exists(tmp_path / "up" / "trial") and not (tmp_path / "up" / "trial").exists()
