"""`pommel up m --unattended` against a real QEMU whose guest of a few bytes stands in for Recovery's Terminal.

It shows each key that is typed; what the scripts would report is sent by the test, by HTTP as they send it.
"""

from __future__ import annotations

import contextlib
import json
import os
import plistlib
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.macs import boot_disk
from app.recipe.test_run import ECHOES
from driver import Shell
from machine.guests import sector
from pommel import locks, process
from pommel.opencore import reading
from pommel.opencore.options import SCAN_POLICIES
from unattended import quick
from waits import wait_until

SCRIPT = """#!/usr/bin/env bash
cd "$(dirname "$0")"
qemu-system-x86_64 -m 16 -machine q35 -device ich9-ahci,id=sata -vga std -monitor stdio \\
  -device qemu-xhci -device usb-kbd \\
  -drive id=OpenCoreBoot,if=none,snapshot=on,format=qcow2,file=./OpenCore/OpenCore.qcow2 \\
  -device ide-hd,bus=sata.2,drive=OpenCoreBoot,bootindex=3 \\
  -drive id=InstallMedia,if=none,file=./BaseSystem.img,format=raw -device ide-hd,bus=sata.3,drive=InstallMedia,bootindex=1 \\
  -drive id=MacHDD,if=none,file=./mac_hdd_ng.img,format=qcow2 -device ide-hd,bus=sata.4,drive=MacHDD,bootindex=2 \\
  -netdev user,id=net0,hostfwd=tcp::2222-:22 -device virtio-net-pci,netdev=net0,mac=52:54:00:c9:18:27
"""
SECRET = "c0rrect horse"
BEGIN = ("--user", "ada", "--full-name", "Ada King", "--accept-apple-licence")


class Box:
    """A folder that boots the stand-in, and the installation as the test follows it."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        own = shell.root / "own"
        (own / "OpenCore").mkdir(parents=True)
        boot_disk(own / "OpenCore" / "OpenCore.qcow2")
        (own / "BaseSystem.img").write_bytes(sector(ECHOES))
        (own / "OpenCore-Boot.sh").write_text(SCRIPT)
        (own / "OpenCore-Boot.sh").chmod(0o755)
        shell.config(f'[machine.m]\nupstream = "{own}"\ndisk = "64M"\naccel = "tcg"\n')
        self.folder = shell.machine("m")
        self.recipe = shell.root / "quick.toml"
        self.recipe.write_text(quick.recipe(
            settles=0.5, listens=2, installed="after_s = 1",
            **{"within_s = 60\nthen = \"provision\"": "within_s = 1\nthen = \"provision\"",
               "within_s = 60\nbranch": "within_s = 1\nbranch", "pause_s = 10": "pause_s = 0",
               r"until = \{ ssh = true \}": "until = { running = true }"},
        ))  # fmt: skip
        (shell.root / "password").write_text(f"{SECRET}\n")
        self.children: list[subprocess.Popen[bytes]] = []

    def up(self, *words: str) -> subprocess.Popen[bytes]:
        """Begin or go on."""
        pipe = subprocess.PIPE
        words = ("up", "m", "--unattended", "--headless", "--wait", "screen", "--json", *words)
        self.children.append(self.shell.popen(*words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe))
        return self.children[-1]

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        key = ("--password-file", str(self.shell.root / "password"))
        return self.up(*BEGIN, *key, "--recipe", str(self.recipe), *words)

    def kept(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "unattended.json").read_text()))

    def state(self) -> str | None:
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads((self.folder / "recipe.json").read_text())["state"])
        return None

    def reaches(self, *states: str) -> None:
        def there() -> bool:
            child = self.children[-1]
            if child.poll() is not None:
                out, err = child.communicate()
                raise AssertionError(f"it ended in {self.state()}: {out.decode()}\n{err.decode()}")
            return self.state() in states

        wait_until(there, 60)

    def say(self, word: str, text: str = "") -> None:
        """Report as the scripts do: again and again, while a command that was just begun does not listen yet."""

        def heard() -> bool:
            kept = self.kept()
            with contextlib.suppress(urllib.error.URLError):
                where = f"http://127.0.0.1:{kept['port']}/{kept['token']}/{word}"
                return urllib.request.urlopen(where, text.encode(), timeout=20).status == 200
            return False

        wait_until(heard, 60)

    def write(self, lines: str) -> None:
        """Have this in the file of reports on the script disk, as the scripts write it also without a network."""
        (self.shell.root / "reports").write_text(lines)
        image = self.folder / "unattended.img"
        process.run(["mcopy", "-o", "-i", image, self.shell.root / "reports", "::/reports.txt"])

    def kill(self) -> None:
        """kill -9 of the command; QEMU lives on."""
        child = self.children[-1]
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()

    def end_qemu(self) -> None:
        """As a restart under -no-reboot does, or as a kill."""
        pid = locks.holder(self.folder / "qemu.pid")
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: locks.holder(self.folder / "qemu.pid") is None, 20)

    def on_disk(self) -> str:
        """The values on the script disk."""
        return process.run(["mtype", "-i", self.folder / "unattended.img", "::/values"]).text

    def policy(self) -> int:
        """What the boot disk that QEMU has lets start."""
        found = re.search(r"file=(\S*/opencore/[0-9a-f]+/OpenCore\.qcow2)", self.argv())
        assert found is not None, self.argv()
        config = plistlib.loads(reading.find_config(Path(found[1]), self.shell.root / "raw", image_format="qcow2").data)
        return int(config["Misc"]["Security"]["ScanPolicy"])

    def argv(self) -> str:
        pid = locks.holder(self.folder / "qemu.pid")
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.fixture
def box(shell: Shell) -> Iterator[Box]:
    made = Box(shell)
    yield made
    for child in made.children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def test_killed_in_each_part_it_goes_on_to_a_machine_whose_user_is_known(box: Box) -> None:
    report = box.shell.root / "report.txt"
    box.begin("--report", str(report))
    box.reaches("line")
    argv = box.argv()
    assert "-no-reboot" in argv and "unattended.img" in argv and box.kept()["token"] not in argv and SECRET not in argv
    assert "stage=install" in box.on_disk() and "again=no" in box.on_disk()
    assert box.policy() == SCAN_POLICIES["recovery"]
    port = box.kept()["port"]
    box.kill()

    box.up()  # the line may have been typed: its script's heartbeat is heard before anything is pressed
    box.reaches("recovery")
    assert box.kept()["port"] == port
    box.say("alive", "erasing disk1")
    box.reaches("install")
    box.kill()

    box.up()
    box.reaches("install")
    box.say("prepared")
    box.reaches("restart")
    box.kill()
    box.end_qemu()

    box.up()
    box.reaches("second-line")  # by macos, stop and provision
    assert "stage=provision" in box.on_disk() and "user=ada" in box.on_disk()
    image = (box.folder / "unattended.img").read_bytes()
    assert SECRET.encode() not in image and (box.folder / "unattended.img").stat().st_mode & 0o777 == 0o600
    box.say("started")
    box.say("not-finished", "the installer has work left")
    box.reaches("macos", "stop", "provision", "second-recovery")
    box.reaches("second-line")
    box.kill()

    last = box.up("--report", str(report), "--no-snapshot")
    box.reaches("second-line")
    box.say("done", "14.7 23H124\x1b[31m")
    box.reaches("switched-off")
    box.end_qemu()
    out, err = last.communicate(timeout=120)
    assert last.returncode == 0, err
    told = json.loads(out.splitlines()[-1])
    assert told["installation"]["states"][-1]["name"] == "first-start" and told["state"] == "running"
    record = json.loads((box.folder / "machine.json").read_text())
    assert record["installed"] is True and record["settings"]["ssh_user"] == "ada"
    assert [path.name for path in box.folder.glob("unattended.*")] == ["unattended.lock"]
    assert "unattended" not in box.argv() and "-no-reboot" not in box.argv()
    assert box.policy() == SCAN_POLICIES["macos"]
    text = report.read_text()
    for word in ("not-finished: the installer has work left", "done: 14.7 23H124", "first-start", "it is done"):
        assert word in text
    for private in (SECRET, "Ada King", "ada can", str(box.shell.home), "\x1b"):
        assert private not in text
    assert report.stat().st_mode & 0o777 == 0o600


def test_one_that_broke_off_before_its_restart_begins_again_and_what_was_prepared_meanwhile_is_seen(box: Box) -> None:
    box.begin()
    box.reaches("line")
    box.say("started")
    box.reaches("install")
    box.kill()
    box.end_qemu()  # as with a restart of the host

    box.up()
    box.reaches("line")
    assert "again=yes" in box.on_disk() and box.kept()["again"] is True
    box.say("started")
    box.reaches("install")
    box.kill()
    box.write("started \nalive erasing\nprepared \n")
    box.end_qemu()

    box.up()
    box.reaches("second-line")
    assert box.kept()["again"] is False


def test_without_a_network_the_script_is_heard_by_its_disk_while_it_runs(box: Box) -> None:
    child = box.begin()
    box.reaches("line")
    box.write("started \n")
    box.reaches("install")
    box.write("started \nalive erasing\nprepared \n")
    box.reaches("restart")
    box.end_qemu()
    box.reaches("second-line")
    box.write("started \nfailed the Data volume disk1s2 cannot be mounted: \n")
    told = json.loads(child.communicate(timeout=60)[0].splitlines()[-1])
    assert "the Data volume disk1s2 cannot be mounted" in told["error"]

    # What stopped it is not heard again, though Recovery still runs with it on the disk.
    again = box.up()
    box.reaches("second-line")
    box.write("started \nfailed the Data volume disk1s2 cannot be mounted: \nstarted \ndone 14.7 23H124\n")
    box.reaches("switched-off")
    box.end_qemu()
    assert again.wait(120) == 0


def test_what_the_script_says_when_it_cannot_go_on_is_told_with_what_to_type_and_it_begins_again(box: Box) -> None:
    child = box.begin("--report", str(box.shell.root / "r"))
    box.reaches("line")
    box.say("failed", "no disk has 67108864 bytes: \x1b]0;evil\x07\n")
    out, err = child.communicate(timeout=60)
    told = json.loads(out.splitlines()[-1])
    assert "the script in Recovery cannot go on" in told["error"] and "no disk has 67108864 bytes" in told["error"]
    assert "pommel up m --unattended: it goes on from there" in told["hint"] and b"\x1b" not in err
    assert box.state() == "again" and (box.folder / "unattended.png").exists()
    assert "it stopped: m: the recipe stopped in the state 'line'" in (box.shell.root / "r").read_text()
    box.up()
    box.reaches("line")
    assert "again=yes" in box.on_disk()


def test_what_cannot_be_is_refused_by_name_before_anything_is_done(box: Box) -> None:
    key = ("--password-file", str(box.shell.root / "password"))

    def refused(*words: str, status: int = 2) -> str:
        return box.shell.run("up", "m", *words, status=status).stderr

    assert "--user is an option of an installation without a person" in refused("--user", "ada")
    assert "needs to know the user" in refused("--unattended")
    assert "--locale needs to know the user" in refused("--unattended", "--locale", "de_DE")
    assert "add --accept-apple-licence" in refused("--unattended", "--user", "ada", *key)
    assert "either a password or an SSH key" in refused("--unattended", *BEGIN)
    assert "the recipe has no state 'lin'" in refused("--unattended", *BEGIN, *key, "--from", "lin")
    (box.shell.root / "mine").write_text("my own\n")
    assert "is not such a report" in refused(
        "--unattended", *BEGIN, *key, "--report", str(box.shell.root / "mine"), status=3
    )
    config = (box.shell.cwd / "pommel.toml").read_text()
    box.shell.config(f'{config}network = "none"\n')
    assert "network = 'none'" in refused("--unattended", *BEGIN, *key, status=3)
    box.shell.config(f'{config}macos = "monterey"\n')
    assert "is macOS 12" in refused("--unattended", *BEGIN, *key)
    assert not box.folder.exists()


def test_a_dry_run_says_the_steps_and_where_it_would_begin(box: Box) -> None:
    words = ("up", "m", "--unattended", *BEGIN, "--password-file", str(box.shell.root / "password"), "--dry-run")
    told = box.shell.json(*words)["installation"]
    assert (told["begin"], told["why"]) == ("start-recovery", "the first")
    assert {"name": "install", "says": "Apple's installer downloads macOS and prepares the disk"}.items() <= next(
        each for each in told["states"] if each["name"] == "install"
    ).items()
    said = box.shell.run(*words).stdout
    assert "would then carry out 'Install macOS without a person', beginning with start-recovery" in said
    assert "type 'sh /Volumes/POMMEL/i\\n'" in said and not box.folder.exists()
