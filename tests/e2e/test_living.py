"""A machine's days: what is written in the guest survives stop, crash, sleep, snapshot and clone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Shell, wait_until

pytestmark = pytest.mark.e2e
DAYS = "".join(f'[machine.{name}]\nupstream = "trial"\nmemory = "512M"\n' for name in ("day", "copy"))


class Living:
    """One machine of its own, brought up once, and what to do in its guest."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell

    def up(self, name: str = "day") -> None:
        self.shell.run("up", name, "--json", "--wait", "ssh", timeout_s=600)

    def guest(self, command: str, name: str = "day") -> str:
        return self.shell.run("ssh", name, "--", command).stdout

    def pid(self, name: str = "day") -> int:
        return int(self.shell.json("status", name)["pid"])

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
    assert "nobody is here to say it" in living.shell.run("snapshot", "load", "day", "one", status=2).stderr
    living.shell.run("snapshot", "load", "day", "one", "--yes")
    assert living.guest("cat note") == "first\n"
    assert living.guest(f"kill -0 {sleeper} && echo lives") == "lives\n"
    assert [each["tag"] for each in living.shell.json("snapshot", "list", "day")["snapshots"]] == ["one"]
    assert "has no snapshot two" in living.shell.run("snapshot", "load", "day", "two", "--yes", status=3).stderr


def test_asleep_on_disk_and_awake_again(living: Living) -> None:
    living.guest("echo awake > note; sync")
    before = living.pid()
    living.shell.run("sleep", "day", timeout_s=120)
    assert living.state() == "asleep"
    assert before not in living.shell.processes()
    refused = living.shell.run("start", "day", "--throwaway", status=3)
    assert "sleeps, and would wake up as it was" in refused.stderr
    living.shell.run("start", "day")
    assert living.guest("cat note; cut -d. -f1 /proc/uptime") > "awake\n"
    assert living.state() == "running"


def test_suspended_and_resumed(living: Living) -> None:
    living.shell.run("suspend", "day")
    assert living.state() == "paused"
    assert living.shell.run("suspend", "day", status=3).stderr.startswith("error: ")
    living.shell.run("resume", "day")
    assert living.state() == "running"
    assert living.guest("echo on") == "on\n"


def test_a_crash_is_told_and_cleaned_up_and_loses_what_was_not_written_only(living: Living) -> None:
    living.guest("echo durable > note; sync")
    pid = living.pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: living.state() == "crashed", 10)
    assert living.shell.json("status", "day")["detail"]
    living.up()
    assert living.guest("cat note") == "durable\n"
    sources = {
        json.loads(line)["source"] for line in living.shell.run("log", "day", "-n", "400", "--json").stdout.splitlines()
    }
    assert sources >= {"pommel", "serial"}
    words = living.shell.run("log", "day", "-n", "400").stdout
    assert "crashed" in words and "snapshot" in words


def test_watch_starts_it_again_and_ends_when_it_is_stopped(living: Living) -> None:
    living.shell.run("stop", "day", timeout_s=120)
    watch = living.shell.popen("start", "day", "--watch", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: living.state() == "running", 30)
        first = living.pid()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: (living.shell.json("status", "day")["pid"] or first) != first, 30)
        living.shell.run("stop", "day", "--force")
        _, said = watch.communicate(timeout=30)
        assert watch.returncode == 0, said.decode()
        assert b"crashed and is started again" in said
    finally:
        watch.kill()
        watch.wait()


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
    assert "one machine must be named" in living.shell.run("scp", "x", "y", status=2).stderr


def test_stuck_or_not(living: Living) -> None:
    verdict = living.shell.json("doctor", "day", "--stuck", "--seconds", "4")
    assert verdict["verdict"] in ("idle", "working") and verdict["evidence"]


def test_clones_are_machines_of_their_own(living: Living) -> None:
    shell = living.shell
    living.guest("echo inherited > note; sync")
    assert "cannot be cloned" in shell.run("clone", "day", "copy", status=3).stderr
    shell.run("stop", "day", timeout_s=120)
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
        _, said = child.communicate(timeout=120)
        assert child.returncode == 0, said.decode()
    listed = {row["name"]: row for row in shell.json("list")["machines"]}
    assert [listed[name]["state"] for name in names] == ["running"] * 5
    assert len({listed[name]["ssh_port"] for name in names}) == 5
    assert all(listed[name]["memory_bytes"] and listed[name]["disk_size_bytes"] for name in names)
    shell.run("stop", "--all", "--force")
    assert not any(row["pid"] for row in shell.json("list")["machines"])
    shell.run("golden", "day", "--off")
    for name in names:
        shell.run("delete", name, "--yes")


def test_disks_grow_and_come_in_more_than_one(living: Living) -> None:
    shell = living.shell
    shell.run("stop", "day", status=None, timeout_s=120)  # it runs, if this test is run alone
    before = shell.json("disk", "list", "day")["disks"][0]["virtual_bytes"]
    assert "cannot be made shorter" in shell.run("disk", "resize", "day", "1G", status=2).stderr
    shell.run("disk", "resize", "day", "9G")
    assert shell.json("disk", "list", "day")["disks"][0]["virtual_bytes"] == 9 << 30 > before
    shell.run("disk", "add", "day", "data", "1G")
    assert shell.json("disk", "check", "day")["sound"]
    living.up()
    sizes = living.guest("cat /sys/block/*/size").split()
    assert "is not known" not in shell.json("disk", "list", "day")["disks"][0]["advice"]  # the guest was asked
    assert str((9 << 30) // 512) in sizes and str((1 << 30) // 512) in sizes
    shell.run("disk", "resize", "day", "10G")  # while it runs
    shell.run("stop", "day", timeout_s=120)


def test_nothing_a_throwaway_run_writes_is_kept(living: Living) -> None:
    shell, paths = living.shell, living.shell.machine("day")
    files = [paths / "mac_hdd_ng.img", paths / "disk-data.qcow2", paths / "nvram.fd"]
    before = [path.read_bytes() if path.stat().st_size < 1 << 20 else path.stat().st_mtime_ns for path in files]
    shell.run("start", "day", "--throwaway")
    shell.run("up", "day", "--json", "--wait", "ssh", timeout_s=300)
    living.guest("echo gone > note; sync")
    shell.run("stop", "day", "--force")
    after = [path.read_bytes() if path.stat().st_size < 1 << 20 else path.stat().st_mtime_ns for path in files]
    assert after == before


def test_in_the_foreground_until_it_ends(living: Living) -> None:
    stays = living.shell.popen("start", "day", "--foreground", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: living.state() == "running", 30)
        living.shell.run("stop", "day", "--force")
        _, said = stays.communicate(timeout=30)
        assert stays.returncode == 0 and b"day has ended" in said
    finally:
        stays.kill()
        stays.wait()


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
    assert "is no service" in shell.run("service", "remove", "day", status=3).stderr
