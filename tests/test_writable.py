"""Whether work may begin: a disk that is read-only, full, or somebody else's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import isolation
from pommel.errors import BuildError, NotPermitted
from pommel.process import run
from pommel.writable import LEAST_BYTES, must_take, take_it, why_not

NOBODY = 65534


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 48 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", folder])
    try:
        yield folder
    finally:
        run(["umount", folder])


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[None]:
    """This process without its rights as root, for a while."""
    isolation.let_others_in(tmp_path)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_a_folder_that_will_do_and_one_that_is_still_to_be_made(tmp_path: Path) -> None:
    must_take(tmp_path)
    must_take(tmp_path / "not" / "yet")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_what_is_needed(disk: Path) -> None:
    must_take(disk)
    (disk / "ballast").write_bytes(bytes(20 << 20))
    with pytest.raises(
        BuildError, match=rf"the disk is full: {re.escape(str(disk))} has 28 MiB left, but 32 MiB"
    ) as full:
        must_take(disk / "machines")
    assert f"df -h {disk}" in str(full.value.hint) and LEAST_BYTES == 32 << 20
    must_take(disk, room_bytes=0)  # what makes room needs none


def test_a_read_only_disk_is_told_even_to_root(disk: Path) -> None:
    run(["mount", "-o", "remount,ro", disk])
    with pytest.raises(NotPermitted, match="cannot be written: its file system is mounted read-only") as refusal:
        must_take(disk / "machines")
    assert "POMMEL_HOME" in str(refusal.value.hint)


@pytest.mark.usefixtures("somebody")
def test_whose_it_is_is_told(tmp_path: Path) -> None:
    assert why_not(tmp_path) == "it belongs to root"
    with pytest.raises(NotPermitted, match="it belongs to root"):
        must_take(tmp_path / "home")
    os.seteuid(0)
    os.chown(tmp_path, NOBODY, NOBODY)
    tmp_path.chmod(0o500)
    os.seteuid(NOBODY)
    assert why_not(tmp_path) == "its mode does not allow it" and f"chown -R {NOBODY} {tmp_path}" in take_it(tmp_path)
