"""The trial machine's stand-ins for macOS's programs: what they refuse, and the faults that they have on demand."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest

from .recovery import APP, LIB, SIZE, Recovery, disk, volume

INSTALLER = f'"/{APP}/Contents/Resources/startosinstall"'


@pytest.fixture
def recovery(tmp_path: Path) -> Recovery:
    return Recovery(tmp_path / "recovery")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("diskutil eraseVolume APFS x disk1", "did not recognize eraseVolume"),
        ("diskutil eraseDisk APFS x GPT disk7", "Unable to find disk for disk7"),
        ("diskutil mount disk7s1", "Unable to find disk for disk7s1"),
        ("diskutil info -plist disk7", "Could not find disk: disk7"),
        ("defaults read /tmp/x key", "defaults: read"),
        ("PlistBuddy -c 'Print :a' /tmp/none", "Error Reading File"),
        (f"{INSTALLER} --agreetolicense --volume /tmp --wipe", "Usage: startosinstall"),
        (f"{INSTALLER} --agreetolicense --volume /tmp --rebootdelay 301", "Usage: startosinstall"),
        (f"{INSTALLER} --agreetolicense --volume /none", "/none is not a valid volume"),
        (f"{INSTALLER} --volume /tmp", "licence has not been agreed to"),
    ],
)
def test_what_is_not_documented_is_refused(recovery: Recovery, line: str, said: str) -> None:
    done = recovery.run(line)
    assert done.returncode != 0 and said in done.stderr


def test_a_container_is_a_disk_of_its_own_and_smaller(recovery: Recovery) -> None:
    recovery.disks({"disk1": disk(SIZE, volume("disk19s1", "Mac", "System", "/Volumes/Mac"))})
    told = plistlib.loads(recovery.run("diskutil list -plist").stdout.encode())
    assert told["WholeDisks"] == ["disk1", "disk19"]
    told = plistlib.loads(recovery.run("diskutil info -plist disk19").stdout.encode())
    assert 0 < told["TotalSize"] < SIZE


def test_a_fault_happens_as_often_as_it_is_wanted(recovery: Recovery) -> None:
    (recovery.state / "faults").write_text("wedge no-terminal=2 no-network=always")
    tries = f". {LIB}/common; for each in 1 2 3; do for name in wedge no-terminal no-network hang; do strikes $name && echo $name; done; done"
    assert recovery.run(tries).stdout.split() == [
        "wedge", "no-terminal", "no-network", "no-terminal", "no-network", "no-network",
    ]  # fmt: skip


def test_an_installer_that_crashes_once_says_so_and_then_installs(recovery: Recovery) -> None:
    (recovery.state / "faults").write_text("crash delay=0.1")
    recovery.run("diskutil eraseDisk APFS Mac GPT disk1")
    line = f"trap 'echo prepared' USR1; {INSTALLER} --agreetolicense --volume /Volumes/Mac --pidtosignal $$ & wait $!; echo $?"
    first = recovery.run(line).stdout.split()
    assert first[-1] == "255" and "prepared" not in first
    assert {"prepared", "168.0%"} <= set(recovery.run(f"{line}; wait").stdout.split())


def test_one_process_answers_many_calls_as_one_for_each_does(recovery: Recovery) -> None:
    calls = """
        PlistBuddy -c 'Add :a string x y' /tmp/one.plist; PlistBuddy -c 'Print :a' /tmp/one.plist
        PlistBuddy -c 'Print :b' /tmp/one.plist; echo "$?"
        cd /tmp; defaults write /tmp/two Key -array '<dict><key>é</key><integer>2</integer></dict>'; cat two.plist
        diskutil info -plist disk1; diskutil info -plist disk7; echo "$?"; diskutil list -plist
    """
    serves = f"{LIB}/mac.py serve & until [ -s /run/recovery/answers ]; do sleep 0.05; done"
    answered = recovery.run(f"{serves}; {calls} kill $!")
    (recovery.state / "answers").unlink()
    alone = recovery.run(calls)
    assert answered.stdout == alone.stdout and answered.stderr == alone.stderr
    assert "x y" in alone.stdout and "TotalSize" in alone.stdout and "Could not find disk: disk7" in alone.stderr
