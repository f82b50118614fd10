"""A machine's whole life under umask 0: what other users of the host could read or replace. Boots firmware only."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Shell
from free_ports import free_port

pytestmark = pytest.mark.e2e

BOOT = """#!/bin/bash
qemu-system-x86_64 -m 64 -machine q35 -smp 1 -device ich9-ahci,id=sata \\
  -drive id=MacHDD,if=none,file=./mac_hdd_ng.img,format=qcow2 -device ide-hd,bus=sata.4,drive=MacHDD \\
  -drive id=InstallMedia,if=none,file=./BaseSystem.img,format=raw -device ide-hd,bus=sata.3,drive=InstallMedia \\
  -netdev user,id=net0 -device e1000,netdev=net0,id=net0,mac=52:54:00:c9:18:27 \\
  -drive if=pflash,format=raw,readonly=on,file=./OVMF_CODE_4M.fd \\
  -drive if=pflash,format=raw,file=./OVMF_VARS-1920x1080.fd -monitor stdio
"""
SETTINGS = """
[machine.m1]
upstream = "../up"
boot_script = "OpenCore-Boot.sh"
disk = "1G"
memory = "64M"
cores = 1
threads = 1
ssh_port = {port}
"""


@pytest.fixture
def small(shell: Shell) -> Iterator[Shell]:
    up = shell.root / "up"
    up.mkdir()
    (up / "OpenCore-Boot.sh").write_text(BOOT)
    (up / "OpenCore-Boot.sh").chmod(0o755)
    shutil.copy("/usr/share/OVMF/OVMF_CODE_4M.fd", up / "OVMF_CODE_4M.fd")
    shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", up / "OVMF_VARS-1920x1080.fd")
    with (up / "BaseSystem.img").open("wb") as image:
        image.truncate(1 << 20)
    (shell.cwd / "pommel.toml").write_text(SETTINGS.format(port=free_port()))
    shell.home.rmdir()
    before = os.umask(0)
    yield shell
    os.umask(before)
    shell.run("stop", "m1", "--force", status=None)


def test_nobody_else_reads_or_replaces_anything(small: Shell) -> None:
    told = small.run("up", "m1", "--detach", "--headless", "--yes").stderr
    said = [told]
    for words in (("snapshot", "save", "m1", "one"), ("sleep", "m1"), ("wake", "m1"), ("stop", "m1", "--force"),
                  ("disk", "add", "m1", "data", "64M"), ("clone", "m1", "m2"), ("clone", "m1", "m3", "--linked")):  # fmt: skip
        said.append(small.run(*words).stderr)
    machines = small.home / "machines"
    assert {"m1", "m2", "m3"} <= {path.name for path in machines.iterdir()}
    wide = [
        f"{stat.filemode(path.lstat().st_mode)} {path}"
        for path in (small.home, *small.home.rglob("*"), *(small.root / "cache").rglob("*"))
        if not path.is_symlink() and path.lstat().st_mode & 0o077
    ]
    assert wide == []
    assert "other users" not in "".join(said), "nothing was made wide first and closed later"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_machine_that_somebody_else_put_there_is_refused(small: Shell) -> None:
    small.run("up", "m1", "--detach", "--headless", "--yes")
    small.run("stop", "m1", "--force")
    machine = Path(small.home) / "machines" / "m1"
    for path in (small.home, machine.parent, machine):
        path.chmod(0o777)
    subprocess.run(["chown", "-R", "65534", str(machine)], check=True)
    for words in (("status", "m1"), ("start", "m1"), ("list",)):
        done = small.run(*words, status=1)
        assert f"{machine} belongs to uid 65534" in done.stderr and "chown" in done.stderr
    subprocess.run(["chown", "-R", "0", str(machine)], check=True)
    assert "could open" in small.run("list").stderr
    assert "could open" not in small.run("list").stderr, "said once"
