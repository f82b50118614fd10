"""The script disk as a person makes it: a real FAT image, whose files are then run in a Recovery of stand-ins."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from driver import Shell
from machine.guests import DISK_BYTES, make_disk
from pommel import process
from pommel.app.unattended import full_installer
from pommel.app.upstream import installers
from pommel.errors import StateError
from pommel.recovery.installers import Installers, StoredInstaller
from pommel.unattended.scripts import InstallTarget, Package
from recovery.updates import FakeUpdates
from unattended.recovery import Recovery, disk
from unattended.test_scripts import check_provisioned

SECRET = "c0rrect horse"


@pytest.fixture
def box(shell: Shell) -> Shell:
    """A stopped machine, m, with a disk of 8 MiB; a password and a key in files."""
    shell.run("adopt", str(make_disk(shell.root / "old.qcow2")), "--name", "m")
    (shell.root / "password").write_text(f"{SECRET}\n")
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", shell.root / "key"])
    return shell


def unpacked(image: Path, recovery: Recovery) -> None:
    process.run(["mcopy", "-s", "-i", image, "::*", recovery.script_disk])


def test_both_stages_run_as_they_are_on_the_disk(box: Shell, tmp_path: Path) -> None:
    image, recovery = box.root / "s.img", Recovery(tmp_path / "recovery")
    made = box.json("unattended", "disk", "m", str(image), "--stage", "install", "--accept-apple-licence")
    assert (made["size_bytes"], made["typed"], made["stage"]) == (DISK_BYTES, "sh /Volumes/POMMEL/i", "install")
    assert image.stat().st_mode & 0o777 == 0o600 and b"POMMEL" in image.read_bytes()[:4096]
    recovery.disks({"disk0": disk(3 << 30), "disk1": disk(DISK_BYTES)})
    unpacked(image, recovery)
    assert recovery.run(made["typed"]).returncode == 0
    assert f"diskutil eraseDisk APFS {made['volume']} GPT disk1" in recovery.calls("diskutil")

    words = ["--user", "ada", "--full-name", "Ada L'\"$(reboot)", "--password-file", str(box.root / "password")]
    words += [
        "--ssh-key",
        str(box.root / "key.pub"),
        "--locale",
        "de_DE",
        "--keyboard",
        "de",
        "--timezone",
        "Europe/Berlin",
    ]
    assert (
        "to replace it: --force"
        in box.run("unattended", "disk", "m", str(image), "--stage", "provision", *words, status=3).stderr
    )
    box.run("unattended", "disk", "m", str(image), "--force", "--stage", "provision", *words)
    assert SECRET.encode() not in image.read_bytes()
    second = Recovery(tmp_path / "second")
    data = second.installed()
    disks = json.loads((second.state / "disks").read_text())
    second.disks({**disks, "disk1": {**disks["disk1"], "size": DISK_BYTES}})
    unpacked(image, second)
    done = second.run(made["typed"])
    assert (done.returncode, done.stderr, second.reports()) == (0, "", ["started", "done"])
    keys = (data / "Users/ada/.ssh/authorized_keys").read_text().splitlines()
    assert (box.root / "key.pub").read_text().strip() in keys
    guid = re.search(r"guid=(\S+)", (second.script_disk / "values").read_text())
    assert guid is not None
    check_provisioned(data, guid[1], keys)


def test_the_whole_installer_is_attached_and_joined_again(shell: Shell, tmp_path: Path) -> None:
    image, recovery, apple = shell.root / "s.img", Recovery(tmp_path / "recovery"), FakeUpdates()
    disk_bytes = 40 << 30
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", shell.root / "old.qcow2", str(disk_bytes)])
    shell.run("adopt", str(shell.root / "old.qcow2"), "--name", "m")
    words = ["unattended", "disk", "m", str(image), "--stage", "install", "--accept-apple-licence", "--full-installer"]
    assert "has no setting macos" in shell.run(*words, status=3).stderr
    shell.config('[machine.m]\nmacos = "sonoma"\n')
    assert "pommel installer fetch sonoma" in shell.run(*words, status=3).stderr
    store = Installers(shell.home / "installers")

    async def fetched() -> Path:
        async with apple.running():
            return (await store.fetch("sonoma", origin=apple.origin)).disk

    cd = asyncio.run(fetched())
    made = shell.json(*words)
    shell.config(f'[machine.m]\nmacos = "sonoma"\nqemu_args = {json.dumps(made["qemu_args"])}\n')
    assert "qemu_args of m name" in shell.run("installer", "delete", "sonoma", "--yes", status=3).stderr

    recovery.disks({"disk1": disk(disk_bytes)})
    unpacked(image, recovery)
    (recovery.volumes / "POMMELPKG").mkdir()
    process.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", cd, tmp_path / "raw"])
    process.run(
        ["grub-fstest", tmp_path / "raw", "cp", "(loop0)/part00.pkg", recovery.volumes / "POMMELPKG/PART00.PKG"]
    )
    assert recovery.run(made["typed"]).returncode == 0
    app = recovery.volumes / made["volume"] / "private/tmp/Install macOS Stand-in.app"
    assert (app / "Contents/SharedSupport/SharedSupport.dmg").read_bytes() == apple.image


def test_a_disk_that_is_too_small_for_the_whole_installer_is_told() -> None:
    found = StoredInstaller("042-22222", "14.8.4", "23J319", 14 * 10**9, "2026-09-01", Path("/i/042-22222"))
    with pytest.raises(StateError, match="it stores the package twice"):
        full_installer.target_with(InstallTarget(43 * 10**9, "Pommel-1"), found)
    target = full_installer.target_with(InstallTarget(44 * 10**9, "Pommel-1"), found)
    assert target.package == Package("POMMELPKG", 14, 14 * 10**9)
    assert "readonly=on,file=/i/042-22222/disk.vmdk" in installers.attached(found)[1]


def test_what_is_missing_or_wrong_is_told_and_nothing_is_written(box: Shell) -> None:
    image = box.root / "s.img"

    def refused(*words: str, status: int = 2) -> str:
        return box.run("unattended", "disk", "m", str(image), *words, status=status).stderr

    assert "--accept-apple-licence" in refused("--stage", "install")
    assert "an account needs a user name" in refused("--stage", "provision")
    for key in (box.machine("m") / "ssh").glob("*.pub"):
        key.unlink()
    assert "ada could not log in" in refused("--stage", "provision", "--user", "ada")
    assert "is a private key" in refused("--stage", "provision", "--user", "ada", "--ssh-key", str(box.root / "key"))
    assert "cannot be the user's name" in refused(
        "--stage", "provision", "--user", "Ada", "--ssh-key", str(box.root / "key.pub")
    )
    (box.root / "password").write_text("\n")
    told = refused("--stage", "provision", "--user", "ada", "--password-file", str(box.root / "password"))
    assert "has no password" in told
    assert not image.exists()
    said = box.run(
        "unattended", "disk", "m", str(image), "--stage", "install", "--accept-apple-licence", "--dry-run"
    ).stdout
    assert said.startswith(f"would write {image}") and not image.exists()
