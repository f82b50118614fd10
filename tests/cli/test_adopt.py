"""`pommel adopt` as a person types it; and an adopted machine in the real QEMU."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from app import macs
from driver import Shell
from machine.guests import count_on_disk, set_count


@pytest.fixture
def folder(shell: Shell) -> Path:
    return macs.osx_kvm(shell.cwd / "OSX-KVM")


def test_a_dry_run_shows_all_and_does_nothing(shell: Shell, folder: Path) -> None:
    done = shell.run("adopt", "OSX-KVM", "--dry-run")
    lines = re.sub(r" +", " ", done.stdout.replace(str(shell.root), "R")).splitlines()
    assert lines[0] == "R/cwd/OSX-KVM is an OSX-KVM folder; it becomes the machine osx-kvm"
    files = [line for line in lines if " copied " in line]
    assert [line.split()[0] for line in files] == ["disk", "NVRAM", "firmware", "boot"]
    assert files[0].endswith("copied R/cwd/OSX-KVM/mac_hdd_ng.img R/home/machines/osx-kvm/mac_hdd_ng.img")
    for taken in (
        f"mac {macs.MAC} OpenCore-Boot.sh",
        f"serial {macs.APPLE.serial} OpenCore.qcow2: PlatformInfo",
        "memory 512M OpenCore-Boot.sh",
        "cpu_flags +invtsc +ssse3 OpenCore-Boot.sh",
        "upstream osx-kvm boot files",
    ):
        assert taken in lines
    assert not (shell.home / "machines").exists()


def test_the_same_as_json(shell: Shell, folder: Path) -> None:
    told = shell.json("adopt", "OSX-KVM", "--name", "mac", "--in-place", "--dry-run")
    assert (told["name"], told["mode"], told["upstream"]) == ("mac", "in-place", str(folder))
    assert next((each["what"], each["how"]) for each in told["files"]) == ("disk", "linked")
    assert told["taken"]["serial"] == {"value": macs.APPLE.serial, "source": "OpenCore.qcow2: PlatformInfo"}
    assert any("pommel delete mac removes only the link" in each for each in told["warnings"])


def test_a_move_wants_a_yes(shell: Shell, folder: Path) -> None:
    done = shell.run("adopt", "OSX-KVM", "--move", status=2)
    assert "hint: pommel adopt OSX-KVM --move --yes" in done.stderr
    assert (folder / "mac_hdd_ng.img").is_file()
    assert shell.run("adopt", "OSX-KVM", "--move", "--yes").stdout.endswith(
        "osx-kvm is adopted. To start it: pommel up osx-kvm\n"
    )
    assert not (folder / "mac_hdd_ng.img").exists()
    assert shell.json("info", "osx-kvm")["identity"]["serial"] == macs.APPLE.serial


def test_a_wrong_path(shell: Shell) -> None:
    assert "error: there is no " in shell.run("adopt", "nowhere", status=3).stderr


@pytest.mark.parametrize("mode", ["in-place", "copy"])
def test_an_adopted_machine_runs_with_its_disk_nvram_and_identity(shell: Shell, folder: Path, mode: str) -> None:
    set_count(folder / "mac_hdd_ng.img", 42)
    if mode == "copy":  # in the place of the managed upstream, which is on the net
        own = shell.cwd / "upstream"
        shutil.copytree(folder, own)
        shutil.rmtree(own / "OpenCore")
        (own / "OVMF_CODE.fd").write_bytes(b"another")
        shell.config(f'[machine.mac]\nupstream = "{own}"\n')
    shell.env["POMMEL_ACCEL"] = "tcg"
    shell.run("adopt", str(folder), "--name", "mac", f"--{mode}", "--yes")
    shell.run("start", "mac")
    try:
        pid = int((shell.machine("mac") / "qemu.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        text = " ".join(words)
        disk = shell.machine("mac") / "mac_hdd_ng.img"
        open_files = {os.path.realpath(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        assert f"file={os.path.realpath(disk)}," in text and os.path.realpath(disk) in open_files
        assert os.path.realpath(disk) == str((folder / "mac_hdd_ng.img").resolve() if mode == "in-place" else disk)
        assert f"file={shell.machine('mac') / 'nvram.fd'}" in text
        assert f"file={shell.machine('mac') / 'firmware.fd'}" in text
        assert f"file={shell.machine('mac') / 'OpenCore.qcow2'}" in text
        assert words[words.index("-uuid") + 1] == macs.UUID and f"mac={macs.MAC}" in text
        assert words[words.index("-m") + 1] == "512" and "Penryn" in words[words.index("-cpu") + 1]
        busy = shell.run("adopt", str(folder), "--name", "two", status=3 if mode == "in-place" else 0)
        assert mode == "copy" or "is in use by" in busy.stderr
    finally:
        shell.run("stop", "mac", "--force")
    assert count_on_disk(shell.machine("mac") / "mac_hdd_ng.img") >= 42
    assert (shell.machine("mac") / "nvram.fd").read_bytes()[-8:] == b"kept by "
    assert json.loads((shell.machine("mac") / "machine.json").read_text())["adopted"] == str(folder)
