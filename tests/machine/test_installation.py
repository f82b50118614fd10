"""Whether macOS is installed: the user's word, or the room that real disks take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pommel.machine import boot_choices, disk, snapshots
from pommel.machine.installation import grown_bytes, installed
from pommel.paths import Home, MachinePaths
from pommel.process import run

from .bare import make
from .guests import MIB
from .test_record import RECORD

MAC = replace(RECORD, upstream="osx-kvm", base=None)


@pytest.fixture
def paths(home: Home) -> MachinePaths:
    made = make(home)
    disk.create(made.disk, 64 * MIB)
    return made


@pytest.fixture(autouse=True)
def small_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_choices, "INSTALLED_BYTES", 4 * MIB)


def write(path: Path, mib: int) -> None:
    run(["qemu-io", "-c", f"write -P 7 0 {mib}M", path])


def test_the_disk_grows_and_the_users_word_counts_more(paths: MachinePaths) -> None:
    assert not installed(paths, MAC)[0]
    assert installed(paths, replace(MAC, installed=True))[0]
    write(paths.disk, 5)
    assert installed(paths, MAC)[0]
    assert not installed(paths, replace(MAC, installed=False))[0]


def test_a_linked_clone_has_what_its_base_has(home: Home, paths: MachinePaths) -> None:
    write(paths.disk, 5)
    clone = make(home, "clone")
    disk.create(clone.disk, backing=paths.disk, relative=True)
    assert disk.info(clone.disk).actual_bytes < MIB
    assert installed(clone, MAC)[0]


def test_ram_in_a_snapshot_is_no_macos(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    write(paths.disk, 5)
    before = grown_bytes(paths)
    snapshots.save(paths, "one")
    record = paths.directory / "snapshots" / "one" / "snapshot.json"
    record.write_text(record.read_text().replace('"ram_bytes": 0', f'"ram_bytes": {3 * MIB}'))
    assert before - 3 * MIB <= grown_bytes(paths) < before - 2 * MIB
    record.write_text("damaged")
    assert grown_bytes(paths) >= before


def test_a_trial_machine_has_no_installer(paths: MachinePaths) -> None:
    assert installed(paths, RECORD) == (True, "a trial machine is created with its system installed")


def test_a_disk_that_is_not_there(home: Home) -> None:
    assert grown_bytes(home.machine("nobody")) == 0


def test_a_machine_that_has_no_disk_yet_says_so(home: Home) -> None:
    nobody = home.machine("nobody")
    assert installed(nobody, MAC) == (False, "it has no disk yet, so nothing is installed")
    assert installed(nobody, replace(MAC, installed=True)) == (True, "it is marked as installed")
