"""`encrypt = true` by the real command: a machine of a few bytes whose guest writes what nobody else may read."""

from __future__ import annotations

import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Shell
from keyring import keyring
from machine.guests import sector
from pommel import locks
from pommel.app.disk import encryption
from pommel.app.machine import making
from pommel.app.workspace import Workspace
from pommel.machine import disk, record
from pommel.paths import Home
from pommel.progress import ignore
from waits import wait_until

MIB = 1 << 20
PATTERN = b"the guest's own words, which are nobody else's"
# Writes its own sector, and with it the pattern, to the second sector of the second disk, by int 13h; says W; sleeps.
WRITES = bytes.fromhex("fa31c08ed88ec08ed0bc007cfb b80103bb007cb90200ba8100cd13 b057e6e9 fa f4ebfd") + PATTERN
BOOT = """#!/bin/bash
qemu-system-x86_64 -m 32 -machine q35 -smp 1 -device ich9-ahci,id=sata \\
  -drive id=MacHDD,if=none,file=./mac_hdd_ng.img,format=qcow2 -device ide-hd,bus=sata.4,drive=MacHDD \\
  -drive id=InstallMedia,if=none,file=./BaseSystem.img,format=raw -device ide-hd,bus=sata.3,drive=InstallMedia,bootindex=0 \\
  -drive id=Data,if=none,file=./data.img,format=raw -device ide-hd,bus=sata.5,drive=Data \\
  -netdev user,id=net0,restrict=on -device e1000,netdev=net0,id=net0,romfile= -monitor stdio
"""
SETTINGS = (
    'upstream = "../up"\nboot_script = "boot.sh"\ndisk = "64M"\nmemory = "32M"\ncores = 1\nthreads = 1\naccel = "tcg"\n'
)
UP = ("--detach", "--headless", "--yes", "--wait-timeout", "1")


class Desk(Shell):
    """A home, an upstream with a small guest, and perhaps a keyring."""

    def __init__(self, bus: dict[str, str] | None = None) -> None:
        super().__init__()
        self.env.pop("DBUS_SESSION_BUS_ADDRESS", None)
        self.env |= bus or {}
        up = self.root / "up"
        up.mkdir()
        (up / "boot.sh").write_text(BOOT)
        (up / "boot.sh").chmod(0o755)
        (up / "BaseSystem.img").write_bytes(sector(WRITES).ljust(MIB, b"\0"))
        (up / "data.img").write_bytes(PATTERN.ljust(MIB, b"\0"))
        self.phrases = set[bytes]()

    def tables(self, *, drives: str = "none", **tables: str) -> None:
        said = f'qemu_args = ["-debugcon", "file:{self.root}/said"]\nupstream_drives = "{drives}"\n'
        self.config("".join(f"[machine.{name}]\n{SETTINGS}{said}{more}\n" for name, more in tables.items()))

    def refused(self, *words: str, status: int = 3) -> str:
        done = self.run(*words, status=status)
        assert "Traceback" not in done.stderr
        return done.stderr

    def guest_has_written(self) -> bool:
        said = self.root / "said"
        return said.exists() and b"W" in said.read_bytes()

    def files(self) -> Iterator[Path]:
        yield from (path for path in self.root.rglob("*") if path.is_file() and (self.root / "up") not in path.parents)

    def kept(self, name: str = "m") -> record.MachineRecord:
        return record.load(self.machine(name) / "machine.json")


@pytest.fixture(scope="module")
def bus() -> Iterator[dict[str, str]]:
    with keyring() as env:
        yield env


@pytest.fixture
def desk(bus: dict[str, str]) -> Iterator[Desk]:
    made = Desk(bus)
    try:
        yield made
    finally:
        made.close()


def lookup(desk: Desk, name: str = "m") -> bytes:
    """The passphrase, by the command that `info` prints."""
    command = desk.json("info", name)["passphrase_at"]
    assert command.startswith("secret-tool lookup application pommel machine ")
    found = subprocess.run(command, shell=True, env=desk.env, check=True, capture_output=True).stdout
    desk.phrases.add(found)
    return found


def plain(desk: Desk, path: Path, phrase: bytes) -> bytes:
    """What is on an encrypted disk, by QEMU's own means."""
    out = desk.root / "plain.out"
    words = ["--object", "secret,id=k,file=/dev/stdin", "--image-opts"]
    words += [f"driver=qcow2,encrypt.key-secret=k,file.filename={path}", "-O", "raw", str(out)]
    subprocess.run(["qemu-img", "convert", "-U", *words], input=phrase, check=True)
    found = out.read_bytes()
    out.unlink()
    return found


def test_a_machine_from_its_making_on_with_the_keyring(desk: Desk) -> None:
    desk.tables(m="encrypt = true\n", drives="copy")
    assert "would  make m" in desk.run("up", "m", "--dry-run").stdout
    done = desk.run("up", "m", *UP)
    assert "keep a copy elsewhere: secret-tool lookup application pommel machine" in done.stderr
    phrase, folder = lookup(desk), desk.machine("m")
    assert len(phrase) >= 43 and desk.kept().encrypted is not None

    # What the guest writes is in the disk, and in no file of the machine's in plain text; nor is the passphrase.
    wait_until(desk.guest_has_written, 60)
    pid = locks.holder(folder / "qemu.pid")
    assert pid is not None
    for each in ("cmdline", "environ"):
        assert phrase not in Path(f"/proc/{pid}/{each}").read_bytes()
    explained = desk.run("argv", "m", "--explain").stdout
    assert "the passphrase of its disks, which comes by a pipe" in explained and "encrypt.key-secret" in explained
    told = desk.json("info", "m")
    assert told["encrypted"] is True and [each["encrypted"] for each in told["disks"]] == [True, True]
    assert "encrypted" in desk.run("disk", "list", "m").stdout
    assert "its disks open by the passphrase from the keyring" in desk.run("doctor", "m", status=None).stdout
    desk.run("doctor", "m", "-o", str(desk.root / "bundle.tar.gz"))

    # What would lay memory or data down in plain text is refused while it runs, and it goes on.
    assert "m is encrypted and cannot be put to sleep" in desk.refused("sleep", "m")
    assert "cannot write memory into it" in desk.refused("snapshot", "save", "m", "ram", "--ram", status=1)
    assert "m is encrypted and cannot be backed up" in desk.refused("backup", "m", str(desk.cwd))
    assert desk.json("snapshot", "save", "m", "one")["ram"] is False
    desk.run("restart", "m", "--timeout", "1", "--wait-timeout", "1", status=None)
    assert locks.holder(folder / "qemu.pid") not in (None, pid)
    desk.run("stop", "m", "--force")

    image = plain(desk, folder / "mac_hdd_ng.img", phrase)
    assert PATTERN in image[512:1024]
    assert PATTERN in plain(desk, next(folder.glob("disk-*.qcow2")), phrase)  # a copy of the upstream's drive
    for path in desk.files():
        data = path.read_bytes()
        assert PATTERN not in data and phrase not in data, path
    with tarfile.open(desk.root / "bundle.tar.gz") as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None and phrase not in file.read(), member.name


def test_what_is_done_to_a_stopped_one_and_its_clone(desk: Desk) -> None:
    desk.tables(m="encrypt = true\n", c="")
    desk.run("up", "m", *UP)
    wait_until(desk.guest_has_written, 60)
    phrase, folder = lookup(desk), desk.machine("m")
    desk.run("stop", "m", "--force")
    assert "cannot be started: what a throwaway run writes" in desk.refused("start", "m", "--throwaway")
    assert "--full" in desk.refused("clone", "m", "c", "--linked") and not desk.machine("c").exists()
    desk.run("disk", "add", "m", "more", "8M")
    desk.run("disk", "resize", "m", "128M")
    desk.run("snapshot", "save", "m", "one")
    desk.run("snapshot", "load", "m", "one", "--yes")
    desk.run("snapshot", "delete", "m", "one", "--yes")
    desk.run("disk", "compact", "m")
    assert desk.json("disk", "check", "m")["sound"] is True
    elsewhere = desk.root / "elsewhere"
    elsewhere.mkdir()
    desk.run("disk", "move", "m", str(elsewhere))
    assert PATTERN in plain(desk, folder / "mac_hdd_ng.img", phrase)[512:1024]
    assert [each["encrypted"] for each in desk.json("disk", "list", "m")["disks"]] == [True] * 2

    # A clone opens by the same passphrase, under the same name in the keyring, and has an identity of its own.
    desk.run("clone", "m", "c")
    assert lookup(desk, "c") == phrase and desk.kept("c").uuid != desk.kept().uuid
    assert PATTERN in plain(desk, desk.machine("c") / "mac_hdd_ng.img", phrase)[512:1024]
    desk.run("delete", "m", "--yes")
    desk.run("start", "c")
    assert locks.holder(desk.machine("c") / "qemu.pid") is not None
    desk.run("stop", "c", "--force")

    # The passphrase is gone, or another: refused before QEMU is started, with what to type.
    uuid = str(desk.kept("c").encrypted)
    where = ["application", "pommel", "machine", uuid]
    subprocess.run(["secret-tool", "clear", *where], env=desk.env, check=True)
    assert f"secret-tool store '--label=Pommel: the disks of c' {' '.join(where)}" in desk.refused("start", "c")
    subprocess.run(["secret-tool", "store", "--label=x", *where], env=desk.env, check=True, input=b"wrong")
    logged = (desk.machine("c") / "qemu.log").read_bytes()
    assert "the passphrase from the keyring does not open the disk" in desk.refused("start", "c")
    assert "does not open" in desk.run("doctor", "c", status=None).stdout
    assert (desk.machine("c") / "qemu.log").read_bytes() == logged


def test_a_passphrase_in_a_file(desk: Desk) -> None:
    key = desk.root / "user" / "m.key"
    said = 'passphrase_file = "~/m.key"\n'
    desk.tables(m=f"encrypt = true\n{said}", plain="", other=f"encrypt = true\n{said}")
    for words in (("up", "m", *UP), ("up", "m", "--dry-run"), ("start", "m")):
        told = desk.refused(*words)
        assert words[0] == "start" or f"head -c 32 /dev/urandom | base64 > {key}" in told
    assert not desk.machine("m").exists()
    key.write_text("open, sesame\n")
    key.chmod(0o640)
    assert f"chmod 600 {key}" in desk.refused("up", "m", *UP)
    key.chmod(0o600)
    desk.run("up", "m", *UP)
    desk.run("stop", "m", "--force")
    assert desk.json("info", "m")["passphrase_at"] == str(key)
    assert all(b"open, sesame" not in path.read_bytes() for path in desk.files() if path != key)

    key.rename(moved := key.with_name("moved"))
    assert f"the passphrase file {key} is not there" in desk.refused("start", "m")
    assert "is not there" in desk.run("doctor", "m", status=None).stdout
    key.write_text("open, barley\n")
    key.chmod(0o600)
    assert f"the passphrase from the file {key} does not open the disk" in desk.refused("start", "m")
    moved.rename(key)

    # A clone finds the same file, whether or not pommel.toml speaks of it.
    desk.run("clone", "m", "c")
    assert desk.json("info", "c")["passphrase_at"] == str(key)

    # Settings that ask a machine to be what it is not.
    desk.tables(m=f"encrypt = false\n{said}", plain="encrypt = true\n", c="encrypt = false\n")
    assert "encrypt = false does not change" in desk.refused("start", "m")
    assert "encrypt = false is set for d" in _of_clone(desk, said)


def _of_clone(desk: Desk, said: str) -> str:
    desk.tables(m=said, d="encrypt = false\n")
    return desk.refused("clone", "m", "d")


def test_a_machine_that_was_made_without_becomes_encrypted_by_a_clone(desk: Desk) -> None:
    desk.tables(m="")
    desk.run("up", "m", *UP)
    wait_until(desk.guest_has_written, 60)
    desk.run("stop", "m", "--force")
    assert PATTERN in (desk.machine("m") / "mac_hdd_ng.img").read_bytes()
    desk.tables(m="encrypt = true\n", n="encrypt = true\n")
    for words in (("start", "m"), ("up", "m", "--dry-run"), ("argv", "m")):
        assert "pommel clone m NEW --full" in desk.refused(*words)
    assert "cannot be encrypted: the disk that it would lie over" in desk.refused("clone", "m", "n", "--linked")
    desk.tables(m="", n="encrypt = true\n")
    desk.run("clone", "m", "n")
    phrase = lookup(desk, "n")
    for path in desk.machine("n").rglob("*"):
        assert not path.is_file() or PATTERN not in path.read_bytes(), path
    assert PATTERN in plain(desk, desk.machine("n") / "mac_hdd_ng.img", phrase)[512:1024]
    assert desk.kept("m").encrypted is None and desk.kept("n").encrypted is not None


def test_what_cannot_be_encrypted_is_refused(desk: Desk) -> None:
    own = desk.root / "own.img"
    disk.create(own, 64 * MIB)
    desk.tables(m=f'encrypt = true\ndisk_file = "{own}"\n', mac="encrypt = true\n")
    assert f"disk_file has m use {own}" in desk.refused("up", "m", *UP)
    assert "encrypt = true is set for mac" in desk.refused(
        "adopt", str(desk.root / "own.img"), "--name", "mac", status=3
    )


def test_without_a_keyring_nothing_is_made() -> None:
    made = Desk()
    try:
        made.tables(m="encrypt = true\n")
        told = made.refused("up", "m", *UP)
        assert "the keyring cannot be used" in told and "set passphrase_file" in told
        assert not made.machine("m").exists()
    finally:
        made.close()


def test_killed_at_its_making_there_is_no_machine_and_the_next_makes_one(desk: Desk) -> None:
    key = desk.root / "user" / "m.key"
    key.write_text("open, sesame\n")
    key.chmod(0o600)
    desk.tables(m='encrypt = true\npassphrase_file = "~/m.key"\n')
    machines = desk.home / "machines"
    child = desk.popen("up", "m", *UP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: list(machines.glob(".m.building.*/.mac_hdd_ng.img.*")), 60, every_s=0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not (machines / "m").exists()
    desk.run("up", "m", *UP)
    assert desk.kept().encrypted is not None and not list(machines.glob(".m.building.*"))
    desk.run("stop", "m", "--force")


def test_the_trial_machines_own_disk_is_encrypted() -> None:
    """Its base image is in plain text, and its own disk, on which the guest writes, is not."""
    made = Shell(share_base=True)
    try:
        key = made.root / "user" / "key"
        key.write_text("open, sesame")
        key.chmod(0o600)
        made.config(f'[machine.trial]\nencrypt = true\npassphrase_file = "{key}"\n')
        workspace = Workspace(Home.find(made.env), made.cwd, made.env)
        assert making.make(workspace, workspace.spec("trial"), report=ignore)
        path = made.machine("trial") / "mac_hdd_ng.img"
        assert disk.is_encrypted(path) and b"root:x:0:0:" not in path.read_bytes()
        with encryption.unlocked(workspace, "trial"):
            disk.must_open(path)
        assert sorted(each.name for each in made.machine("trial").iterdir()) == [
            "mac_hdd_ng.img",
            "machine.json",
            "ssh",
        ]
    finally:
        made.close()
