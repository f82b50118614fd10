"""Backups by the real command, of machines whose disks say which moment they are of, and over kills at each step."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from endurance import judge, operations
from endurance.model import DATA, MAIN
from endurance.world import Kill, World, stamp, world
from isolation import patient
from pommel import locks
from pommel.machine import backup_manifest, backup_store, record
from pommel.paths import MachinePaths
from pommel.process import run

_STEPS_TRIED = 3  # of each command, at random: the rest is other runs' to try


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[World, str]]:
    """A home with one machine of two disks, and a second drive."""
    with world() as here:
        seen = (operations.adopt(here, {}, random.Random(seed)) for seed in range(99))
        first = next(each for each in seen if each and not {"--in-place", "--move"} & set(each.words))
        for words in (first.words, ("start", first.name), ("stop", "--force", first.name)):
            assert here.run(words).status == 0, said(here)
        yield here, first.name


@pytest.fixture
def target(made: tuple[World, str]) -> Iterator[Path]:
    folder = made[0].root / "second drive"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def said(here: World) -> str:
    return (here.root / "said").read_text()


def told(here: World, *words: str) -> dict[str, object]:
    """What a command that ends well says as JSON."""
    assert here.run([*words, "--json"]).status == 0, said(here)
    found: dict[str, object] = json.loads(said(here).strip().splitlines()[-1])
    return found


def points(here: World, target: Path) -> list[str]:
    listed = told(here, "restore", str(target), "--list")["points"]
    assert isinstance(listed, list)
    return [str(each["point"]) for each in listed]


def restored(here: World, target: Path, at: str | None = None) -> MachinePaths:
    """What a point is, as a machine of its own, which must not be there before."""
    words = ["restore", str(target), "--as", "f", *(["--at", at] if at else [])]
    assert here.run(words).status == 0, said(here)
    return here.machine("f")


def gone(here: World, name: str = "f") -> None:
    assert here.run(["delete", name, "--yes"]).status == 0, said(here)


def equal(here: World, name: str, target: Path) -> None:
    """See that what the newest point holds is what the stopped machine's disks hold."""
    paths, new = here.machine(name), restored(here, target)
    for slot in (MAIN, DATA):
        run(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", paths.directory / slot, new.directory / slot])
        assert json.loads(run(["qemu-img", "check", "--output=json", new.directory / slot]).text)["check-errors"] == 0
    gone(here)


def stamped(paths: MachinePaths, moment: int) -> None:
    for slot in (MAIN, DATA):
        stamp(paths.directory / slot, moment)


def test_each_point_is_what_the_machine_was_then(made: tuple[World, str], target: Path) -> None:
    here, name = made
    paths = here.machine(name)
    plan = told(here, "backup", name, str(target), "--dry-run")
    assert [each["full"] for each in plan["backed_disks"]] == [True, True] and not list(target.iterdir())  # type: ignore[attr-defined]
    for moment in (11, 12, 13):
        stamped(paths, moment)
        backed = told(here, "backup", name, str(target))
        assert backed["full"] == (moment == 11)
    assert told(here, "backup", name)["full"] is False  # without a folder: where the last one went
    there = points(here, target)
    assert len(there) == 4
    for moment, at in zip((11, 12, 13), there, strict=False):
        new = restored(here, target, at)
        assert {judge.content(here, new.directory / slot).moment for slot in (MAIN, DATA)} == {moment}
        assert record.load(new.record).uuid != record.load(paths.record).uuid
        gone(here)
    assert told(here, "info", name)["backups"] == [
        {
            "path": str(target / name),
            "point": there[-1],
            "created": told(here, "restore", str(target), "--list")["points"][-1]["created"],
        }  # type: ignore[index]
    ]


def test_the_running_guests_disks_are_of_one_moment(made: tuple[World, str], target: Path) -> None:
    here, name = made
    paths = here.machine(name)
    stamped(paths, 21)
    assert here.run(["start", name]).status == 0, said(here)
    kinds = [told(here, "backup", name, str(target))["full"] for _ in range(3)]
    assert kinds == [True, False, False]
    counts = []
    for at in points(here, target):
        new = restored(here, target, at)
        main, data = (judge.content(here, new.directory / slot) for slot in (MAIN, DATA))
        assert main.count - 1 <= data.count <= main.count and not main.marked and main.moment == 21
        counts.append(main.count)
        gone(here)
    assert counts == sorted(counts)
    assert here.run(["stop", "--force", name]).status == 0
    assert told(here, "backup", name)["full"] is False
    equal(here, name, target)


def test_snapshots_and_sleep_between_backups(made: tuple[World, str], target: Path) -> None:
    here, name = made
    stamped(here.machine(name), 31)
    steps: list[tuple[tuple[str, ...], bool]] = [
        (("start", name), True),
        (("snapshot", "save", name, "s"), False),
        (("snapshot", "load", name, "s", "--yes"), True),  # the disk was put back: it knows of no backup
        (("sleep", name), False),
        (("start", name), False),  # awake, and what has changed is known still
        (("stop", "--force", name), False),
        (("snapshot", "load", name, "s", "--yes", "--disk-only"), True),
        (("snapshot", "delete", name, "s", "--yes"), False),
    ]
    for words, full in steps:
        assert here.run(words).status == 0, (words, said(here))
        backed = told(here, "backup", name, str(target))
        assert backed["full"] is full, words
        if words[0] == "sleep":
            assert backed["state"] == "asleep" and any("sleeps" in str(each) for each in backed["notes"])  # type: ignore[attr-defined]
        if words[0] in ("stop", "snapshot") and here.qemu(name) is None:
            equal(here, name, target)


def test_a_disk_that_grew_and_was_compacted(made: tuple[World, str], target: Path) -> None:
    here, name = made
    paths = here.machine(name)
    stamped(paths, 41)
    assert told(here, "backup", name, str(target))["full"]
    assert here.run(["disk", "resize", name, "9M"]).status == 0, said(here)
    run(["qemu-io", "-f", "qcow2", "-c", "write -P 9 8M 1M", paths.disk])
    assert told(here, "backup", name, str(target))["full"] is False
    equal(here, name, target)
    assert here.run(["disk", "compact", name]).status == 0, said(here)
    how = {each["disk_file"]: each["parent"] is None for each in told(here, "backup", name)["backed_disks"]}  # type: ignore[attr-defined]
    assert how == {MAIN: False, DATA: False}  # what has changed is known still: it went along
    equal(here, name, target)


def test_a_qemu_that_was_killed_makes_the_next_one_full(made: tuple[World, str], target: Path) -> None:
    here, name = made
    assert told(here, "backup", name, str(target))["full"]
    assert here.run(["start", name]).status == 0, said(here)
    assert told(here, "backup", name)["full"] is False
    pid = here.qemu(name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + patient(20)
    while here.qemu(name) is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert here.run(["backup", name]).status == 0, said(here)
    assert "QEMU was killed" in said(here)
    equal(here, name, target)
    assert told(here, "backup", name)["full"] is False


@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_killed_at_any_step_earlier_points_are_whole(made: tuple[World, str], target: Path, running: bool) -> None:
    here, name = made
    stamped(here.machine(name), 51 + running)
    assert told(here, "backup", name, str(target))["full"]
    if running:
        assert here.run(["start", name]).status == 0, said(here)
    steps = here.run(["backup", name]).steps
    tried = sorted(random.SystemRandom().sample(range(1, steps + 1), _STEPS_TRIED))
    for step in tried:
        before = points(here, target)
        here.run(["backup", name, "--keep", "2"], Kill("command", step=step), name)
        half = [each.name for each in (target / name).glob(".*.part")]
        after = points(here, target)
        assert set(before[-1:]) <= set(after), (step, before, after)
        for at in after:
            assert here.run(["restore", str(target), "--check", "--at", at]).status == 0, (step, said(here))
        assert here.run(["backup", name]).status == 0, (step, said(here))
        for each in half:
            assert f"incomplete backup is removed: {each[1:-5]}" in said(here)
        assert not [*(target / name).glob(".*.part"), *(target / name).glob(".*.gone")], step
        assert judge.orphans(here) == []
    if running:
        assert here.run(["stop", "--force", name]).status == 0
        assert told(here, "backup", name)["full"] is False, tried
    equal(here, name, target)


def test_a_restore_that_is_killed_leaves_no_half_machine(made: tuple[World, str], target: Path) -> None:
    here, name = made
    stamped(here.machine(name), 61)
    told(here, "backup", name, str(target))
    steps = restored(here, target) and here.run(["restore", str(target), "--as", "e"]).steps
    gone(here, "e")
    gone(here)
    for step in sorted(random.SystemRandom().sample(range(1, steps + 1), _STEPS_TRIED)):
        here.run(["restore", str(target), "--as", "f"], Kill("command", step=step), "f")
        if here.machine("f").directory.exists():
            assert judge.content(here, here.machine("f").disk).moment == 61
            gone(here)
        equal(here, name, target)
        assert not list(here.home.machines.glob(".*.building.*"))


def test_a_machine_is_replaced_only_by_a_yes_and_never_while_it_runs(made: tuple[World, str], target: Path) -> None:
    here, name = made
    paths = here.machine(name)
    stamped(paths, 71)
    told(here, "backup", name, str(target))
    before = record.load(paths.record)
    stamped(paths, 72)
    assert here.run(["restore", str(target)]).status == 2 and "--yes" in said(here)
    assert here.run(["start", name]).status == 0, said(here)
    assert here.run(["restore", str(target), "--yes"]).status == 3 and "is running" in said(here)
    assert here.run(["stop", "--force", name]).status == 0
    assert judge.content(here, paths.disk).moment == 72
    assert here.run(["restore", str(target), "--yes"]).status == 0, said(here)
    assert judge.content(here, paths.disk).moment == 71
    after = record.load(paths.record)
    assert (after.uuid, after.mac) == (before.uuid, before.mac)
    assert here.run(["start", name]).status == 0, said(here)
    assert here.run(["stop", "--force", name]).status == 0
    assert told(here, "backup", name, str(target))["full"]  # it is new to the folder's bitmaps


def test_what_was_changed_on_the_target_is_named_and_not_restored(made: tuple[World, str], target: Path) -> None:
    here, name = made
    stamped(here.machine(name), 81)
    told(here, "backup", name, str(target))
    stamped(here.machine(name), 82)
    told(here, "backup", name, str(target))
    first, second = points(here, target)
    disk = target / name / second / MAIN
    whole = disk.read_bytes()

    def refused(word: str, at: str = second) -> None:
        assert here.run(["restore", str(target), "--as", "f", "--at", at]).status == 1
        assert word in said(here) and "hint: choose an earlier backup" in said(here), said(here)
        assert not here.machine("f").directory.exists()

    disk.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused("has changed since")
    run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", disk])
    refused("is not the image")
    disk.unlink()
    disk.symlink_to("/etc/passwd")
    refused("cannot be read")
    disk.unlink()
    refused("is missing")
    assert judge.content(here, restored(here, target, first).disk).moment == 81
    gone(here)
    manifest = target / name / second / "backup.json"
    manifest.write_text(manifest.read_text().replace("ssh/known_hosts", "../../../up").replace(MAIN, "../x"))
    assert here.run(["restore", str(target), "--list"]).status == 0 and f"{second} cannot be used" in said(here)
    assert here.run(["backup", name]).status == 0 and "a new chain" not in said(here)  # what it needs is chosen anew
    equal(here, name, target)


def test_the_target(made: tuple[World, str], target: Path) -> None:
    here, name = made
    for folder, word in (
        (here.root / "nowhere", "there is no folder"),
        (here.home.root, "Pommel's own folder"),
    ):
        assert here.run(["backup", name, str(folder)]).status == 3 and word in said(here)
    (target / name).mkdir()
    (target / name / "mine").write_text("mine")
    assert here.run(["backup", name, str(target)]).status == 3 and "other files" in said(here)
    (target / name / "mine").unlink()
    folder = backup_manifest.Folder("0" * 16, name, "a0b1c2d3-0000-4000-8000-000000000000")
    (target / name / backup_store.FOLDER).write_text(backup_manifest.render_folder(folder))
    assert here.run(["backup", name, str(target)]).status == 3 and "another machine" in said(here)
    shutil.rmtree(target / name)
    told(here, "backup", name, str(target))
    with locks.hold(target / name / ".lock", busy="test"):
        assert here.run(["backup", name, str(target)]).status == 3 and "a backup is being made" in said(here)


def test_a_full_drive_leaves_earlier_points_and_the_guest(made: tuple[World, str], target: Path) -> None:
    here, name = made
    stamped(here.machine(name), 91)
    run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", target])
    try:
        told(here, "backup", name, str(target))
        assert here.run(["start", name]).status == 0, said(here)
        (target / "filler").write_bytes(bytes(os.statvfs(target).f_bavail * 4096 - (3 << 20)))
        assert here.run(["backup", name]).status == 1
        assert "MiB left" in said(here) and "df -h" in said(here)
        assert here.run(["status", name]).status == 0 and "running" in said(here)
        (target / "filler").unlink()
        assert told(here, "backup", name)["full"] is False
        assert here.run(["stop", "--force", name]).status == 0
        assert told(here, "backup", name)["full"] is False
        equal(here, name, target)
    finally:
        here.run(["stop", "--force", name])
        run(["umount", target])


def test_a_disk_used_where_it_lies_is_read_only_and_copied_whole(made: tuple[World, str], target: Path) -> None:
    here, _ = made
    own = here.source(here.root / "theirs")
    assert here.run(["adopt", str(own), "--name", "d", "--in-place", "--yes"]).status == 0, said(here)
    before = (own / "disk.qcow2").read_bytes()
    try:
        for _ in range(2):
            assert here.run(["backup", "d", str(target)]).status == 0, said(here)
            assert (own / "disk.qcow2").read_bytes() == before
        assert "changes cannot be recorded" in said(here) and "only the changes since" not in said(here)
        new = restored(here, target)
        assert not new.disk.is_symlink()
        run(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", own / "disk.qcow2", new.disk])
    finally:
        gone(here)
        gone(here, "d")


def test_golden_machines_and_linked_clones(made: tuple[World, str], target: Path) -> None:
    here, name = made
    paths = here.machine(name)
    stamped(paths, 95)
    assert here.run(["clone", name, "e", "--linked"]).status == 0, said(here)
    try:
        base = paths.disk.read_bytes()
        assert told(here, "backup", name, str(target))["full"]
        assert paths.disk.read_bytes() == base  # a clone lies over it
        assert told(here, "backup", "e", str(target))["full"]
        stamp(here.machine("e").disk, 96)
        assert told(here, "backup", "e", str(target))["full"] is False
        assert here.run(["restore", str(target), "e", "--as", "f"]).status == 0, said(here)
        new = here.machine("f").disk  # what it lay over is in it
        assert judge.content(here, new).moment == 96 and b"base" not in new.read_bytes()[:1024]
        assert here.run(["restore", str(target)]).status == 2 and "which machine?" in said(here)
        assert here.run(["restore", str(target), name, "--yes"]).status == 3 and "linked clones" in said(here)
    finally:
        gone(here)
        gone(here, "e")


def test_settings_of_a_backup_that_name_programs_are_not_taken(made: tuple[World, str], target: Path) -> None:
    here, name = made
    told(here, "backup", name, str(target))
    (point,) = points(here, target)
    manifest = target / name / point / "backup.json"
    found = json.loads(manifest.read_text())
    found["settings"] = {"memory": "32M", "qemu": "/tmp/evil", "qemu_args": ["-device", "evil"], "vfio": ["01:00.0"]}
    manifest.write_text(json.dumps(found))
    (here.cwd / "pommel.toml").rename(here.cwd / "away")
    try:
        assert here.run(["restore", str(target), "--as", "f"]).status == 0, said(here)
        assert "not restored from a backup: qemu, qemu_args, vfio" in said(here)
        assert (record.load(here.machine("f").record).settings or {}).get("memory") == "32M"
    finally:
        (here.cwd / "away").rename(here.cwd / "pommel.toml")
        gone(here)
