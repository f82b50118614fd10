"""`pommel disk move`, as it is typed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from driver import Shell
from machine.guests import make_disk


@pytest.fixture
def machine(shell: Shell) -> Path:
    """The disk of a stopped machine, m."""
    shell.run("adopt", str(make_disk(shell.root / "old.qcow2")), "--name", "m")
    (shell.root / "big").mkdir()
    return shell.machine("m") / "mac_hdd_ng.img"


def test_a_dry_run_says_it_and_does_nothing(shell: Shell, machine: Path) -> None:
    target = shell.root / "big" / "m-mac_hdd_ng.img"
    said = shell.run("disk", "move", "m", str(target.parent), "--dry-run").stdout
    assert f"m: main would move from {machine} to {target}\nit is not copied: one file system; " in said
    told = shell.json("disk", "move", "m", str(target.parent), "--dry-run")
    assert (told["from"], told["to"], told["copies"]) == (str(machine), str(target), False)
    assert told["dry_run"] and told["bytes"] > 0 and told["free_bytes"] > 0
    assert not machine.is_symlink() and not target.exists()


def test_it_moves_is_listed_there_and_goes_with_the_machine(shell: Shell, machine: Path) -> None:
    shell.config('[machine.m]\ndisk_file = "own"\n')  # its own still, wherever it lies
    target = shell.root / "big" / "Mac.qcow2"
    told = shell.json("disk", "move", "m", str(target))
    assert told["to"] == str(target) and not told["dry_run"] and os.path.realpath(machine) == str(target)
    assert shell.json("disk", "list", "m")["disks"][0]["file"] == str(target)
    assert str(target) in shell.run("disk", "list", "m").stdout
    assert shell.json("disk", "check", "m")["sound"]
    assert f"the disk is already at {target}" in shell.run("disk", "move", "m", str(target), status=3).stderr
    shell.run("clone", "m", "copy")
    shell.run("delete", "m", "--yes")
    assert not target.exists() and not (shell.machine("copy") / "mac_hdd_ng.img").is_symlink()


def test_a_disk_that_the_settings_name_stays(shell: Shell, machine: Path) -> None:
    shell.config(f'[machine.m]\ndisk_file = "{machine}"\n')
    done = shell.run("disk", "move", "m", str(shell.root / "big"), status=3)
    assert "disk_file says that the disk of m is" in done.stderr and "remove disk_file from pommel.toml" in done.stderr


def test_which_disk(shell: Shell, machine: Path) -> None:
    shell.run("disk", "add", "m", "data", "4M")
    shell.run("disk", "move", "m", str(shell.root / "big"), "--disk", "data")
    assert (shell.root / "big" / "m-disk-data.qcow2").is_file() and not machine.is_symlink()
    assert "has no disk 'other'" in shell.run("disk", "move", "m", "/tmp", "--disk", "other", status=3).stderr
    completing = {"_POMMEL_COMPLETE": "bash_complete", "COMP_WORDS": "pommel disk move m", "COMP_CWORD": "3"}
    shell.env |= completing
    assert shell.run().stdout == "plain,m\n"
