"""A machine's days: what is written in the guest survives stop, crash, sleep, snapshot and clone.

In an order in which it boots as seldom as can be: what needs a guest that answers first, then what only starts it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Shell
from isolation import patient
from waits import wait_until

from .conftest import up

pytestmark = pytest.mark.e2e
DAYS = "".join(f'[machine.{name}]\nupstream = "trial"\nmemory = "512M"\nballoon = true\n' for name in ("day", "copy"))


class Living:
    """One machine of its own, brought up once, and what to do in its guest."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell

    def up(self, name: str = "day") -> None:
        up(self.shell, name, "--wait", "ssh")

    def guest(self, command: str, name: str = "day") -> str:
        return self.shell.run("ssh", name, "--", command).stdout

    def pid(self, name: str = "day") -> int:
        return int(self.shell.json("status", name)["pid"])

    def doctor(self, name: str) -> list[str]:
        """What mends what the doctor says of `name`."""
        told = json.loads(self.shell.run("doctor", "day", "--json", status=None).stdout.splitlines()[0])
        return [each["fix"] for each in told["checks"] if each["name"] == name]

    def has_the_time(self, event: str) -> None:
        """Wait until the log says so of the clock, which nobody waits for else; and see that it is right."""
        began = time.monotonic()
        while "clock" not in (log := self.log()):
            assert time.monotonic() - began < patient(120), log
            time.sleep(1)
        assert "clock set: it was" in log and event in log, log
        assert abs(self.shell.json("clock", "day")["offset_s"]) < 2

    def log(self) -> str:
        return self.shell.run("log", "day", "-n", "200").stdout

    def state(self, name: str = "day") -> str:
        return str(self.shell.json("status", name)["state"])


@pytest.fixture(scope="module")
def living() -> Iterator[Living]:
    shell = Shell(share_base=True)
    try:
        shell.config(DAYS)
        living = Living(shell)
        living.up()
        yield living
    finally:
        shell.close()


def test_a_snapshot_with_memory_and_back(living: Living) -> None:
    living.guest("echo first > note; sync; nohup sleep 9999 >/dev/null 2>&1 & echo $! > pid")
    sleeper = living.guest("cat pid").strip()
    saved = living.shell.json("snapshot", "save", "day", "one")
    assert saved["ram"] and saved["nvram"]
    living.guest(f"echo second > note; sync; kill {sleeper}")
    assert "confirmation needed" in living.shell.run("snapshot", "load", "day", "one", status=2).stderr
    living.shell.run("snapshot", "load", "day", "one", "--yes")
    assert living.guest("cat note") == "first\n"
    assert living.guest(f"kill -0 {sleeper} && echo lives") == "lives\n"
    assert [each["tag"] for each in living.shell.json("snapshot", "list", "day")["snapshots"]] == ["one"]
    assert "has no snapshot two" in living.shell.run("snapshot", "load", "day", "two", "--yes", status=3).stderr


def test_memory_is_given_back_when_it_is_asked_for(living: Living) -> None:
    """It sleeps with less, in the next test, and wakes up with it."""
    seen = living.shell.json("memory", "day")
    assert (seen["balloon"], seen["reports"], seen["guest_bytes"]) == ("works", True, 512 << 20)
    given = living.shell.json("memory", "day", "448M")
    assert given["guest_bytes"] == 448 << 20
    assert living.shell.json("info", "day")["memory"]["guest_bytes"] == 448 << 20
    assert "day can have 256 MiB to 512 MiB" in living.shell.run("memory", "day", "1G", status=2).stderr


def test_asleep_on_disk_and_awake_again(living: Living) -> None:
    living.guest("echo awake > note; sync")
    before = living.pid()
    living.shell.run("sleep", "day", timeout_s=120)
    assert living.state() == "asleep"
    assert before not in living.shell.processes()
    refused = living.shell.run("start", "day", "--throwaway", status=3)
    assert "sleeps and would wake in its saved state" in refused.stderr
    time.sleep(5)  # that its clock does not live through
    living.shell.run("start", "day")
    assert living.guest("cat note; cut -d. -f1 /proc/uptime") > "awake\n"
    assert living.state() == "running"
    # "Right", or a second off where setting it took that long: how far off it may be is seen too.
    living.has_the_time("behind; now it is ")
    assert living.shell.json("memory", "day")["guest_bytes"] == 448 << 20


def test_suspended_and_resumed(living: Living) -> None:
    living.shell.run("suspend", "day")
    assert living.state() == "paused"
    assert living.shell.run("suspend", "day", status=3).stderr.startswith("error: ")
    time.sleep(4)
    living.shell.config(DAYS.replace("[machine.day]", "[machine.day]\nset_clock = false"))
    living.shell.run("resume", "day")
    assert living.state() == "running"
    assert living.guest("echo on") == "on\n"
    living.shell.config(DAYS)
    behind = living.shell.json("clock", "day", status=1)
    assert behind["offset_s"] < -3 and behind["after_s"] is None, "nobody touches it where that is not wanted"
    # The guest is asked; on a busy host it may not answer in time.
    wait_until(lambda: living.doctor("clock") == ["pommel clock day --set"], 120)
    assert abs(living.shell.json("clock", "day", "--set")["after_s"]) < 2
    assert not living.shell.json("info", "day")["clock"]["why"]


def test_room_is_given_back_while_it_runs(living: Living) -> None:
    living.guest("dd if=/dev/urandom of=big bs=1M count=96 2>/dev/null; sync; rm big; sync")
    asked = living.shell.json("disk", "compact", "day", "--dry-run")
    done = living.shell.json("disk", "compact", "day")
    assert asked["how"] == done["how"] == "trim" and asked["after_bytes"] is None
    assert done["before_bytes"] - done["after_bytes"] > 64 << 20, "in spite of a snapshot, which is older"
    living.guest("dd if=/dev/urandom of=big bs=1M count=32 2>/dev/null; sync; rm big; sync")
    cut = living.shell.popen("disk", "compact", "day", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    cut.kill()
    cut.wait()
    assert living.guest("echo on") == "on\n"
    living.shell.run("suspend", "day")
    assert "pommel resume day" in living.shell.run("disk", "compact", "day", status=3).stderr
    living.shell.run("resume", "day")


def test_copies_of_files_and_what_ssh_itself_needs_to_know(living: Living, tmp_path: Path) -> None:
    living.up()
    (tmp_path / "a b.txt").write_text("there and back\n")
    living.shell.run("scp", str(tmp_path / "a b.txt"), "day:copied")
    living.shell.run("scp", "day:copied", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "there and back\n"
    config = tmp_path / "config"
    config.write_text(living.shell.run("ssh-config", "day").stdout)
    told = subprocess.run(["ssh", "-F", config, "day", "cat copied"], check=True, capture_output=True, timeout=60)
    assert told.stdout == b"there and back\n"
    assert "give the name of one machine" in living.shell.run("scp", "x", "y", status=2).stderr


def test_a_disk_grows_while_its_guest_runs(living: Living) -> None:
    """Linux looks for the size of a SATA disk when it starts; that it is there then, the test of the throwaway run shows."""
    shell = living.shell
    shell.run("disk", "resize", "day", "9G")
    assert shell.json("disk", "list", "day")["disks"][0]["virtual_bytes"] == 9 << 30
    # The guest is asked; on a busy host it may not answer in time.
    wait_until(lambda: "is unknown" not in shell.json("disk", "list", "day")["disks"][0]["advice"], 30)


def test_stuck_or_not(living: Living) -> None:
    verdict = living.shell.json("doctor", "day", "--stuck", "--seconds", "4")
    assert verdict["verdict"] in ("idle", "working") and verdict["evidence"]


def test_a_crash_is_told_and_cleaned_up_and_loses_what_was_not_written_only(living: Living) -> None:
    living.guest("echo durable > note; sync")
    pid = living.pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: living.state() == "crashed", 10)
    assert living.shell.json("status", "day")["detail"]
    living.up()
    assert living.guest("cat note") == "durable\n"
    sources = {
        json.loads(line)["source"]
        for line in living.shell.run("log", "day", "-n", "5000", "--json").stdout.splitlines()
    }
    assert sources >= {"pommel", "serial"}
    words = living.shell.run("log", "day", "-n", "5000").stdout  # a boot is some 400 lines of the serial port
    assert "crashed" in words and "snapshot" in words


def test_clones_are_machines_of_their_own(living: Living) -> None:
    shell = living.shell
    living.guest("echo inherited > note; sync")
    assert "cannot be cloned" in shell.run("clone", "day", "copy", status=3).stderr
    assert shell.json("stop", "day", timeout_s=200) == {"name": "day", "state": "stopped", "how": "acpi"}
    made = shell.json("clone", "day", "copy", "--linked")
    base = shell.json("info", "day")
    assert base["linked_clones"] == ["copy"] and made["clone_of"] == "day"
    for key in ("uuid", "mac"):
        assert made["identity"][key] != base["identity"][key]
    assert made["ssh_port"] != base["ssh_port"]
    assert "linked clones" in shell.run("start", "day", status=3).stderr
    assert "linked clones" in shell.run("delete", "day", "--yes", status=3).stderr
    living.up("copy")
    assert living.guest("cat note", "copy") == "inherited\n"
    shell.run("stop", "copy", "--force")
    shell.run("rename", "copy", "other")
    assert shell.json("info", "other")["clone_of"] == "day"
    shell.run("delete", "other", "--yes")
    assert shell.json("info", "day")["linked_clones"] == []


def test_golden_machines_are_only_cloned_and_five_run_at_once(living: Living) -> None:
    shell = living.shell
    shell.run("golden", "day")
    assert "is golden" in shell.run("start", "day", status=3).stderr
    names = [f"five{number}" for number in range(5)]
    shell.config(DAYS + "".join(f'[machine.{name}]\nupstream = "trial"\nmemory = "256M"\n' for name in names))
    for name in names:
        shell.run("clone", "day", name)
    starts = [shell.popen("start", name, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for name in names]
    for child in starts:
        shell.ended(child)
    listed = {row["name"]: row for row in shell.json("list")["machines"]}
    assert [listed[name]["state"] for name in names] == ["running"] * 5
    assert len({listed[name]["ssh_port"] for name in names}) == 5
    assert all(listed[name]["memory_bytes"] and listed[name]["disk_size_bytes"] for name in names)
    shell.run("stop", "--all", "--force")
    assert not any(row["pid"] for row in shell.json("list")["machines"])
    shell.run("golden", "day", "--off")
    for name in names:
        shell.run("delete", name, "--yes")


def test_watch_starts_it_again_and_ends_when_it_is_stopped(living: Living) -> None:
    living.shell.run("stop", "day", status=None)  # it runs, if this test is run alone
    watch = living.shell.popen("start", "day", "--watch", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: living.state() == "running", 30)
        first = living.pid()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: (living.shell.json("status", "day")["pid"] or first) != first, 30)
        living.shell.run("stop", "day", "--force")
        assert "crashed and is started again" in living.shell.ended(watch, timeout_s=30).stderr
    finally:
        watch.kill()
        watch.wait()


def test_in_the_foreground_until_it_ends(living: Living) -> None:
    stays = living.shell.popen("start", "day", "--foreground", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: living.state() == "running", 30)
        living.shell.run("stop", "day", "--force")
        assert "day has ended" in living.shell.ended(stays, timeout_s=30).stderr
    finally:
        stays.kill()
        stays.wait()


def test_disks_grow_and_what_a_throwaway_run_writes_is_not_kept(living: Living) -> None:
    """Both in one boot: the guest of the throwaway run sees its larger disk, and the new one."""
    shell, paths = living.shell, living.shell.machine("day")
    shell.run("stop", "day", status=None, timeout_s=120)  # it runs, if this test is run alone
    before = shell.json("disk", "list", "day")["disks"][0]["virtual_bytes"]
    assert "cannot shrink" in shell.run("disk", "resize", "day", "1G", status=2).stderr
    shell.run("disk", "resize", "day", "10G")
    assert shell.json("disk", "list", "day")["disks"][0]["virtual_bytes"] == 10 << 30 > before
    shell.run("disk", "add", "day", "data", "1G")
    assert shell.json("disk", "check", "day")["sound"]
    files = [paths / "mac_hdd_ng.img", paths / "disk-data.qcow2", paths / "nvram.fd"]
    as_it_was = [path.read_bytes() if path.stat().st_size < 1 << 20 else path.stat().st_mtime_ns for path in files]
    shell.run("start", "day", "--throwaway")
    living.up()
    sizes = living.guest("cat /sys/block/*/size").split()
    assert str((10 << 30) // 512) in sizes and str((1 << 30) // 512) in sizes
    living.guest("echo gone > note; sync")
    shell.run("stop", "day", "--force")
    assert [
        path.read_bytes() if path.stat().st_size < 1 << 20 else path.stat().st_mtime_ns for path in files
    ] == as_it_was


def test_as_a_service(living: Living) -> None:
    shell = living.shell
    shown = shell.run("service", "show", "day").stdout
    made = shell.json("service", "install", "day", "--no-enable")
    unit = Path(made["unit"])
    assert unit.read_text() == shown and "--foreground" in shown
    checked = subprocess.run(["systemd-analyze", "verify", "--user", unit], capture_output=True, text=True, check=False)
    assert "day" not in checked.stderr.replace(str(unit), "") or checked.returncode == 0, checked.stderr
    shell.run("service", "remove", "day")
    assert not unit.exists()
    assert "has no service" in shell.run("service", "remove", "day", status=3).stderr
