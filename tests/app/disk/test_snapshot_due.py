"""Machines saved when it is time, with real disks and QEMUs: what is due, what changes, what is kept, what fails."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from machine import bare
from machine.guests import NVRAM, count_in_ram, drives, is_running, make_disk
from pommel import process
from pommel.app.disk import snapshot_due, snapshot_timer, snapshots
from pommel.app.disk.snapshot_due import DueOutcome, DueSnapshot
from pommel.app.machine import info
from pommel.app.workspace import Workspace
from pommel.errors import UsageError
from pommel.machine import disk, events, lifecycle, record, savestate, timer_notes
from pommel.machine.record import MachineRecord
from waits import wait_until

# Made with the time zone of the host's own wall, as a person in front of it would.
MONDAY = datetime(2026, 11, 30, 3, 0, 20).astimezone()
DAY = timedelta(days=1)
OURS = ["auto-20261130-030020", *(f"auto-202612{day:02}-030020" for day in range(1, 9))]


class Bench:
    """A machine m with a disk, and a clock that is told what time it is."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.paths = bare.make(workspace.home)
        self.paths.make_runtime()
        make_disk(self.paths.disk)
        self.paths.nvram.write_bytes(NVRAM)
        record.save(self.paths.record, self.kept("m"))
        self.says('{ every = "1d", keep = 3 }')
        self.now = MONDAY

    @staticmethod
    def kept(name: str) -> MachineRecord:
        uuid = "00000000-0000-4000-8000-000000000000"
        return MachineRecord(name, "osx-kvm", uuid, "52:54:00:00:00:01", 24901, "2026-01-01T00:00:00+00:00")

    def says(self, setting: str, more: str = "") -> None:
        (self.workspace.cwd / "pommel.toml").write_text(f"[machine.m]\nsnapshots = {setting}\n{more}")
        self.workspace = Workspace(self.workspace.home, self.workspace.cwd, {})

    def due(self, *, later: timedelta = timedelta(), dry_run: bool = False) -> DueSnapshot:
        self.now += later
        (done,) = snapshot_due.due("m", dry_run=dry_run, now=self.now, workspace=self.workspace)
        return done

    def tags(self) -> list[str]:
        return [each.tag for each in snapshots.list_snapshots("m", workspace=self.workspace)]

    def write(self) -> None:
        """Change what is on the disk, as a guest would."""
        process.run(["qemu-io", "-c", "write 1M 64k", self.paths.disk])

    def start(self, *words: str) -> None:
        lifecycle.start(self.paths, bare.argv(self.paths, *drives(self.paths), *words), accel="tcg")
        wait_until(lambda: count_in_ram(self.paths) > 3)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with bare.short_home() as home:
        yield Bench(Workspace(home, tmp_path, {}))


def test_each_night_one_and_the_oldest_goes(bench: Bench) -> None:
    snapshots.save("m", "mine", workspace=bench.workspace)
    shown = bench.due(dry_run=True)
    assert (shown.outcome, shown.tag, bench.tags()) == (DueOutcome.WOULD_SAVE, OURS[0], ["mine"])
    assert bench.due().outcome is DueOutcome.SAVED
    assert bench.due(later=timedelta(hours=23)).outcome is DueOutcome.NOT_DUE
    bench.now -= timedelta(hours=23)
    for _ in range(2):
        bench.write()
        assert bench.due(later=DAY).outcome is DueOutcome.SAVED
    bench.write()
    assert bench.due(later=DAY, dry_run=True).deleted == (OURS[0],)
    done = bench.due()
    assert (done.tag, done.deleted) == (OURS[3], (OURS[0],))
    assert sorted(bench.tags()) == sorted(["mine", *OURS[1:4]])
    assert set(disk.snapshot_tags(bench.paths.disk)) == {"mine", *OURS[1:4]}


def test_a_run_that_was_missed_is_made_up_for_once(bench: Bench) -> None:
    bench.due()
    bench.write()
    assert bench.due(later=3 * DAY + timedelta(hours=6)).outcome is DueOutcome.SAVED
    bench.write()
    assert bench.due(later=timedelta(hours=1)).outcome is DueOutcome.NOT_DUE
    assert bench.due(later=timedelta(hours=17)).outcome is DueOutcome.SAVED  # the night after, in spite of the late one


def test_a_machine_that_rests_keeps_what_it_has(bench: Bench) -> None:
    bench.due()
    for _ in range(5):
        assert bench.due(later=DAY).outcome is DueOutcome.UNCHANGED
    assert bench.tags() == OURS[:1]
    bench.write()
    assert bench.due(later=timedelta(hours=1)).outcome is DueOutcome.NOT_DUE  # that night has had its look
    assert bench.due(later=DAY).outcome is DueOutcome.SAVED


def test_running_held_asleep(bench: Bench) -> None:
    bench.start()
    assert bench.due().outcome is DueOutcome.SAVED and is_running(bench.paths)
    assert bench.due(later=DAY).outcome is DueOutcome.SAVED, "it may have written meanwhile"
    lifecycle.pause(bench.paths)
    held = [bench.due(later=DAY).outcome for _ in range(2)]
    assert held == [DueOutcome.SAVED, DueOutcome.UNCHANGED]
    lifecycle.resume(bench.paths)
    assert {each.ram for each in snapshots.list_snapshots("m", workspace=bench.workspace)} == {False}
    bench.says('{ every = "1d", keep = 3, memory = true }')
    assert bench.due(later=DAY).outcome is DueOutcome.SAVED
    assert snapshots.list_snapshots("m", workspace=bench.workspace)[-1].ram
    savestate.sleep(bench.paths)
    slept = bench.due(later=DAY)
    assert slept.outcome is DueOutcome.SAVED and "sleeps" in slept.why
    assert bench.due(later=DAY).outcome is DueOutcome.UNCHANGED
    lifecycle.start(bench.paths, bare.argv(bench.paths, *drives(bench.paths), *savestate.START_ARGS))
    savestate.wake(bench.paths)
    assert is_running(bench.paths) and len([tag for tag in bench.tags() if tag.startswith("auto-")]) == 3


def test_a_full_disk_is_told_once_in_the_log_and_nothing_is_lost(bench: Bench) -> None:
    kept = bench.paths.directory.with_name("aside")
    bench.paths.directory.rename(kept)
    bench.paths.directory.mkdir()
    process.run(["mount", "-t", "tmpfs", "-o", "size=60m", "none", bench.paths.directory])
    try:
        shutil.copytree(kept, bench.paths.directory, dirs_exist_ok=True)
        for _ in range(3):
            bench.due(later=DAY)
            bench.write()
        before = bench.tags()
        (bench.paths.directory / "ballast").write_bytes(bytes(45 << 20))
        for _ in range(2):
            done = bench.due(later=DAY)
            assert done.outcome is DueOutcome.FAILED and "the disk is full" in done.why
        assert bench.tags() == before and disk.check(bench.paths.disk).sound
        assert [event.word for event in events.read(bench.paths)].count("snapshot failed") == 1
        told = info.info("m", workspace=bench.workspace)["schedule"]
        assert "the disk is full" in told["failure"] and told["kept"] == 3
        # What makes room works on a full disk too.
        assert snapshot_due.prune("m", keep=1, dry_run=True, workspace=bench.workspace) == before[:2]
        assert snapshot_due.prune("m", keep=1, workspace=bench.workspace) == before[:2]
        (bench.paths.directory / "ballast").unlink()
        assert bench.due().outcome is DueOutcome.SAVED
        assert info.info("m", workspace=bench.workspace)["schedule"]["failure"] is None
    finally:
        process.run(["umount", bench.paths.directory])


def test_a_run_that_was_killed_is_ended_by_the_next(bench: Bench) -> None:
    """Between the new snapshot and the deletion of the old ones: there are too many, and none is lost."""
    for _ in range(3):
        bench.due(later=DAY)
        bench.write()
    bench.now += DAY
    code = f"""
    import datetime, signal
    from pommel.app.disk import snapshot_due
    from pommel.app.workspace import Workspace
    snapshot_due.delete = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
    now = datetime.datetime.fromisoformat({bench.now.isoformat()!r})
    list(snapshot_due.due("m", now=now, workspace=Workspace(home, Path({str(bench.workspace.cwd)!r}), {{}})))
    """
    assert bare.finish(bare.pommel(code, bench.paths))[0] == -signal.SIGKILL
    assert len(bench.tags()) == 4
    done = bench.due(later=timedelta(hours=1))
    assert (done.outcome, len(done.deleted), len(bench.tags())) == (DueOutcome.NOT_DUE, 1, 3)


def test_one_that_cannot_be_saved_is_in_nobodys_way(bench: Bench) -> None:
    setting = 'snapshots = { every = "6h", keep = 2 }\n'
    other = bare.make(bench.workspace.home, "b")
    record.save(other.record, bench.kept("b"))
    process.run(["qemu-img", "create", "-q", "-f", "raw", other.disk, "1M"])
    more = f"[machine.b]\n{setting}[machine.c]\n{setting}[machine.d]\n"
    bench.says('{ every = "1d" }', more)
    done = {each.name: each for each in snapshot_due.due(now=MONDAY, workspace=bench.workspace)}
    assert {name: each.outcome for name, each in done.items()} == {
        "b": DueOutcome.FAILED, "c": DueOutcome.ABSENT, "m": DueOutcome.SAVED,
    }  # fmt: skip
    assert "only qcow2 disks can contain snapshots" in done["b"].why
    with pytest.raises(UsageError, match="d has no automatic snapshots"):
        list(snapshot_due.due("d", workspace=bench.workspace))


def test_clocks_that_were_wrong_and_notes_that_are_damaged(bench: Bench) -> None:
    bench.due(later=3650 * DAY)  # ten years ahead
    bench.write()
    bench.now = MONDAY
    assert bench.due().outcome is DueOutcome.SAVED
    notes = bench.paths.directory / "snapshots" / ".timer.json"
    for text in ("", "[]", "nul", '{"looked": 3}', '{"looked": "2026-01-01"}', '{"files": []}', "[" * 100000):
        notes.write_text(text)
        assert timer_notes.load(bench.paths) == timer_notes.Notes()
    assert bench.due(later=DAY).outcome is DueOutcome.SAVED  # one more than need be, and that is all


def test_the_doctor_looks_after_the_timer_and_the_last_run(bench: Bench, tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config")}

    def said() -> list[tuple[str, str]]:
        workspace = Workspace(bench.workspace.home, bench.workspace.cwd, env)
        found = snapshot_timer.checks(workspace, workspace.spec("m"))
        return [(level, f"{text} {fix}") for _, level, text, fix in found]

    ((level, text),) = said()
    assert level == "warn" and "pommel snapshot timer install; or with cron: 0 * * * * " in text
    snapshot_timer.install(enable=False, workspace=Workspace(bench.workspace.home, bench.workspace.cwd, env))
    ((level, text),) = said()
    assert "the timer is" in text and (level == "ok") == ("timer is active" in text)
    timer_notes.save(bench.paths, failed="the disk is full")
    assert said()[1] == ("fail", "the last one failed: the disk is full pommel snapshot due m")
    (bench.workspace.cwd / "pommel.toml").write_text("[machine.m]\n")
    assert said() == []


def test_a_disk_of_the_host_is_never_taken_for_unchanged(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "other")
    assert timer_notes.stamps([tmp_path / "file"]) is not None
    assert timer_notes.stamps([tmp_path / "file", tmp_path / "other"]) is None
