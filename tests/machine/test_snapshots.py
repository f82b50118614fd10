"""Snapshots by the real QEMU and qemu-img: what a counting guest finds again, and what a kill -9 leaves."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import struct
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from isolation import patient
from pommel import process
from pommel.errors import BuildError, MachineError, PommelError, StateError, UsageError
from pommel.machine import (
    disk,
    lifecycle,
    own_disks,
    pausing,
    snapshot_cold,
    snapshot_keeping,
    snapshot_store,
    snapshots,
)
from pommel.paths import MachinePaths
from pommel.process import run
from pommel.progress import Progress
from waits import wait_until

from .bare import argv, finish, make, pommel, short_home
from .guests import MIB, NVRAM, ask, count_in_ram, count_on_disk, drives, is_running, make_disk, set_count


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        made = make(home)
        make_disk(made.disk)
        made.nvram.write_bytes(NVRAM)
        yield made


def start(paths: MachinePaths, *extra: str) -> int:
    return lifecycle.start(paths, argv(paths, *drives(paths), *extra)).pid


def counts_on(paths: MachinePaths, beyond: int = 0) -> int:
    """Wait until the guest has counted further than that; return its count. What a firmware leaves there does not rise."""

    def rising() -> int:
        if (first := count_in_ram(paths)) <= beyond:
            return 0
        time.sleep(0.05)
        return now if (now := count_in_ram(paths)) > first else 0

    return int(wait_until(rising, every_s=0.02))


def stop(paths: MachinePaths) -> None:
    lifecycle.stop(paths, force=True)


def tags_in(path: Path) -> set[str]:
    return set(disk.snapshot_tags(path))


def nothing_is_left(paths: MachinePaths, *tags: str) -> None:
    """No more than the snapshots `tags` is anywhere: not in the disks, not in the folder."""
    assert [kept.tag for kept in snapshots.list_snapshots(paths)] == list(tags)
    for path in own_disks.all_disks(paths):
        assert tags_in(path) <= set(tags)
    folder = snapshot_store.folder(paths)
    assert sorted(os.listdir(folder)) == sorted(tags) if folder.exists() else not tags


# A machine that is stopped.


def test_a_stopped_machine_goes_back_disk_and_nvram(paths: MachinePaths) -> None:
    set_count(paths.disk, 7)
    saved = snapshots.save(paths, "seven")
    assert (saved.disks, saved.ram, saved.nvram, saved.note) == ((paths.disk.name,), False, True, "")
    set_count(paths.disk, 9)
    paths.nvram.write_bytes(b"other")
    loaded = snapshots.load(paths, "seven")
    assert loaded.snapshot == saved and loaded.start_args == ()
    assert count_on_disk(paths.disk) == 7 and paths.nvram.read_bytes() == NVRAM
    nothing_is_left(paths, "seven")
    snapshots.delete(paths, "seven")
    nothing_is_left(paths)
    assert count_on_disk(paths.disk) == 7


def test_further_disks_go_with_it(paths: MachinePaths) -> None:
    other = own_disks.add(paths, "data", 4 * MIB).path
    set_count(other, 3)
    assert snapshots.save(paths, "both").disks == (paths.disk.name, other.name)
    set_count(other, 4)
    snapshots.load(paths, "both")
    assert count_on_disk(other) == 3


def test_a_machine_without_nvram_has_none_after_a_load(paths: MachinePaths) -> None:
    paths.nvram.unlink()
    assert snapshots.save(paths, "bare").nvram is False
    paths.nvram.write_bytes(NVRAM)
    snapshots.load(paths, "bare")
    assert not paths.nvram.exists()


def test_list_is_in_order_of_time(paths: MachinePaths) -> None:
    for tag in ("zebra", "ape", "mole"):
        snapshots.save(paths, tag)
    assert [kept.tag for kept in snapshots.list_snapshots(paths)] == ["zebra", "ape", "mole"]


def test_no_folder_no_snapshots(paths: MachinePaths) -> None:
    assert snapshots.list_snapshots(paths) == []
    snapshots.recover(paths)
    assert not snapshot_store.folder(paths).exists()


@pytest.mark.parametrize("tag", ["", "1", "a b", "../x", "-d", ".hidden", "before-load-1", "x" * 65])
def test_names_that_cannot_be(paths: MachinePaths, tag: str) -> None:
    with pytest.raises(UsageError):
        snapshots.save(paths, tag)


def test_a_name_that_is_taken(paths: MachinePaths) -> None:
    snapshots.save(paths, "one")
    with pytest.raises(StateError, match="already has a snapshot one"):
        snapshots.save(paths, "one")
    process.run(["qemu-img", "snapshot", "-c", "theirs", paths.disk])
    with pytest.raises(StateError, match="that Pommel did not create"):
        snapshots.save(paths, "theirs")
    assert tags_in(paths.disk) == {"one", "theirs"}


def test_what_is_not_there(paths: MachinePaths) -> None:
    for act in (snapshots.load, snapshots.delete):
        with pytest.raises(StateError, match="has no snapshot nowhere"):
            act(paths, "nowhere")


def test_ram_is_not_had_of_a_stopped_machine(paths: MachinePaths) -> None:
    with pytest.raises(StateError, match="no RAM to save"):
        snapshots.save(paths, "t", live=True)
    snapshots.save(paths, "t")
    with pytest.raises(StateError, match="contains no RAM"):
        snapshots.load(paths, "t", ram=True)
    nothing_is_left(paths, "t")


def test_a_raw_disk_holds_none(paths: MachinePaths) -> None:
    raw = paths.directory / "disk-raw.qcow2"
    raw.write_bytes(bytes(MIB))
    with pytest.raises(StateError, match=r"disk-raw\.qcow2 is raw"):
        snapshots.save(paths, "t")
    raw.unlink()
    nothing_is_left(paths)


def test_a_snapshot_that_somebody_took_out_of_the_disk(paths: MachinePaths) -> None:
    snapshots.save(paths, "t")
    process.run(["qemu-img", "snapshot", "-d", "t", paths.disk])
    with pytest.raises(StateError, match=r"no longer in mac_hdd_ng\.img"):
        snapshots.load(paths, "t")
    snapshots.delete(paths, "t")
    nothing_is_left(paths)


def test_a_damaged_record(paths: MachinePaths) -> None:
    snapshots.save(paths, "t")
    (snapshot_store.folder(paths) / "t" / "snapshot.json").write_text("{}")
    with pytest.raises(MachineError, match="cannot be used"):
        snapshots.list_snapshots(paths)
    snapshots.delete(paths, "t")
    nothing_is_left(paths)


def full(path: Path, data: object, **_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_full_disk_leaves_nothing(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots.save(paths, "old")
    set_count(paths.disk, 2)
    with monkeypatch.context() as patch:
        patch.setattr(snapshot_store, "write_atomic", full)
        for act in (partial(snapshots.save, paths, "t"), partial(snapshots.load, paths, "old")):
            with pytest.raises(BuildError, match="No space left"):
                act()
    with monkeypatch.context() as patch:
        patch.setattr(snapshot_store, "begin_load", full)
        with pytest.raises(BuildError, match="No space left"):
            snapshots.load(paths, "old")
    nothing_is_left(paths, "old")
    start(paths)
    with monkeypatch.context() as patch:
        patch.setattr(snapshot_store, "write_record", full)
        with pytest.raises(BuildError, match="No space left"):
            snapshots.save(paths, "t")
    nothing_is_left(paths, "old")


def test_a_load_that_fails_half_way_is_undone(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    other = own_disks.add(paths, "data", 4 * MIB).path
    set_count(other, 1)
    snapshots.save(paths, "t")
    set_count(paths.disk, 2)
    set_count(other, 2)
    ran = disk.qemu_img

    def fails_at_the_second_disk(*words: str, timeout_s: float = 60.0) -> str:
        if words[:3] == ("snapshot", "-a", "t") and words[3] == str(other):
            raise BuildError("no room")
        return ran(*words, timeout_s=timeout_s)

    monkeypatch.setattr(disk, "qemu_img", fails_at_the_second_disk)
    with pytest.raises(BuildError, match="no room"):
        snapshots.load(paths, "t")
    assert (count_on_disk(paths.disk), count_on_disk(other)) == (2, 2)
    assert paths.nvram.read_bytes() == NVRAM
    nothing_is_left(paths, "t")


# Killed at any moment: at the nth qemu-img call that begins so, or the nth time a file is written that is called so;
# before it is done, and after.

MOMENTS = [
    ("save", "nvram.fd", 1),
    ("save", "snapshot -c", 1),
    ("save", "snapshot -c", 2),
    ("save", "snapshot.json", 1),
    ("load", "snapshot -c", 2),
    ("load", "snapshot.json", 1),
    ("load", ".loading.json", 1),
    ("load", "snapshot -a", 1),
    ("load", "snapshot -a", 2),
    ("load", "nvram.fd", 2),
    ("load", "snapshot -d", 1),
    ("delete", "snapshot -d", 1),
    ("delete", "snapshot -d", 2),
]
KILLED = """
import os, signal
from pommel import json_file
from pommel.machine import disk, snapshots, snapshot_loading, snapshot_saving, snapshot_store
left = [{nth}]
def deadly(real, text):
    def work(*words, **named):
        left[0] -= {moment!r} in text(*words)
        hit = left[0] == 0 and {moment!r} in text(*words)
        if hit and {before}: os.kill(os.getpid(), signal.SIGKILL)
        done = real(*words, **named)
        if hit: os.kill(os.getpid(), signal.SIGKILL)
        return done
    return work
disk.qemu_img = deadly(disk.qemu_img, lambda *words: " ".join(words))
for module in (json_file, snapshot_loading, snapshot_store, snapshot_saving):
    module.write_atomic = deadly(module.write_atomic, lambda path, *rest: path.name)
snapshots.{act}(paths, {tag!r})
"""


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(("act", "moment", "nth"), MOMENTS)
def test_killed_it_is_all_or_nothing(paths: MachinePaths, act: str, moment: str, nth: int, before: bool) -> None:
    other = own_disks.add(paths, "data", 4 * MIB).path
    set_count(paths.disk, 1)
    set_count(other, 1)
    snapshots.save(paths, "old")
    set_count(paths.disk, 2)
    set_count(other, 2)
    paths.nvram.write_bytes(b"later")
    tag = "new" if act == "save" else "old"
    code = KILLED.format(moment=moment, nth=nth, before=before, act=act, tag=tag)
    assert finish(pommel(code, paths))[0] == -signal.SIGKILL
    snapshots.recover(paths)
    found = (count_on_disk(paths.disk), count_on_disk(other), paths.nvram.read_bytes())
    done = act == "load" and moment == "snapshot -d"  # by then the load has ended
    assert found == ((1, 1, NVRAM) if done else (2, 2, b"later"))
    kept = [snapshot.tag for snapshot in snapshots.list_snapshots(paths)]
    early = act == "load" and (moment, before) == (".loading.json", True)
    # Killed between the copy of what was there and the note that the load begins: the copy stays as a snapshot.
    expected = {"save": ["old"], "load": ["old", "before-load-1"] if early else ["old"], "delete": []}
    assert kept == expected[act]
    nothing_is_left(paths, *kept)
    for tag in kept:
        snapshots.load(paths, tag)
        assert count_on_disk(paths.disk) == count_on_disk(other)


# A machine that runs.


def test_a_running_guest_goes_back_ram_disk_and_nvram(paths: MachinePaths) -> None:
    start(paths)
    counts_on(paths, beyond=5)
    events: list[Progress] = []
    saved = snapshots.save(paths, "live", report=events.append)
    assert saved.ram and saved.nvram and saved.ram_bytes > 0 and saved.note == "" and saved.left_out == ()
    assert any(event.unit == "B" and event.total == 16 * MIB for event in events)
    assert is_running(paths)
    then = count_in_ram(paths)
    far = counts_on(paths, beyond=then + 200)
    paths.nvram.write_bytes(b"other" + NVRAM[5:])
    snapshots.load(paths, "live")
    assert count_in_ram(paths) < far and is_running(paths)
    counts_on(paths, beyond=count_in_ram(paths))
    assert paths.nvram.read_bytes() == NVRAM
    nothing_is_left(paths, "live")
    snapshots.delete(paths, "live")
    assert is_running(paths)
    stop(paths)
    nothing_is_left(paths)
    assert disk.check(paths.disk).sound


def test_a_paused_guest_stays_paused(paths: MachinePaths) -> None:
    start(paths)
    counts_on(paths)
    ask(paths, "stop")
    now = count_in_ram(paths)
    snapshots.save(paths, "live")
    ask(paths, "cont")
    counts_on(paths, beyond=now + 20)
    ask(paths, "stop")
    snapshots.load(paths, "live")
    assert count_in_ram(paths) == now and not is_running(paths)


def test_a_guest_goes_on_in_a_new_qemu(paths: MachinePaths) -> None:
    start(paths)
    counts_on(paths, beyond=5)
    ask(paths, "stop")
    now = count_in_ram(paths)
    snapshots.save(paths, "live")
    stop(paths)
    set_count(paths.disk, 1)
    loaded = snapshots.load(paths, "live")
    start(paths, *loaded.start_args)
    snapshots.resume(paths, "live")
    assert is_running(paths) and now <= count_in_ram(paths) < now + patient(100)  # it counts on meanwhile
    counts_on(paths, beyond=now)
    stop(paths)
    nothing_is_left(paths, "live")
    assert count_on_disk(paths.disk) > now


def test_a_qemu_with_other_memory_cannot_go_on_and_all_is_as_it_was(paths: MachinePaths) -> None:
    start(paths)
    counts_on(paths)
    snapshots.save(paths, "live")
    stop(paths)
    set_count(paths.disk, 99)
    loaded = snapshots.load(paths, "live")
    start(paths, "-m", "24", *loaded.start_args)
    with pytest.raises(MachineError, match="QEMU says"):
        snapshots.resume(paths, "live")
    stop(paths)
    snapshots.recover(paths)
    assert count_on_disk(paths.disk) == 99
    nothing_is_left(paths, "live")


def test_drives_that_write_through_no_longer_are_told_of(paths: MachinePaths) -> None:
    """QEMU's own doing: whoever wrote cache=writethrough is not left to believe in it."""
    words = drives(paths)
    words[1] += ",cache=writethrough"
    lifecycle.start(paths, argv(paths, *words))
    counts_on(paths)
    snapshots.save(paths, "then", live=True)
    said: list[Progress] = []
    snapshots.load(paths, "then", report=said.append)
    assert [each.text for each in said if "no longer writes through to MacHDD" in each.text]
    cached = [block["inserted"]["cache"]["writeback"] for block in ask(paths, "query-block") if "inserted" in block]  # type: ignore[attr-defined]
    assert True in cached  # else QEMU has mended it, and there is nothing to tell


def test_a_load_without_ram_leaves_the_disk_as_after_a_power_cut(paths: MachinePaths) -> None:
    start(paths)
    counts_on(paths, beyond=3)
    snapshots.save(paths, "live")
    stop(paths)
    run(["qemu-io", "-c", "write -P 238 512 4", paths.disk])  # a count that no guest of ours lives to reach
    assert snapshots.load(paths, "live", ram=False).start_args == ()
    assert 0 < count_on_disk(paths.disk) < 0xEEEEEEEE
    nothing_is_left(paths, "live")


def test_without_ram_where_it_is_not_wanted(paths: MachinePaths) -> None:
    start(paths)
    counts_on(paths, beyond=3)
    saved = snapshots.save(paths, "disks", live=False)
    assert not saved.ram and saved.nvram and saved.note == "" and is_running(paths)
    with pytest.raises(StateError, match="would change under the running guest"):
        snapshots.load(paths, "disks")
    far = counts_on(paths, beyond=count_in_ram(paths) + 200)
    stop(paths)
    snapshots.load(paths, "disks")
    assert count_on_disk(paths.disk) < far
    nothing_is_left(paths, "disks")


def test_a_device_that_forbids_it_is_named_and_the_disks_are_saved(paths: MachinePaths) -> None:
    usb = ["-device", "qemu-xhci", "-device", "usb-host,vendorid=0x1050,productid=0x0407"]
    start(paths, "-device", "nvme,serial=x", *usb)
    saved = snapshots.save(paths, "t")
    assert not saved.ram and "without RAM" in saved.note and "nvme" in saved.note
    assert "it has the USB device 1050:0407 of this host (pommel usb detach)" in saved.note
    with pytest.raises(MachineError, match=r"cannot be saved with its RAM: .*nvme"):
        snapshots.save(paths, "u", live=True)
    nothing_is_left(paths, "t")


def test_a_stray_raw_drive_forbids_ram_and_is_told(paths: MachinePaths) -> None:
    (paths.directory / "stray").write_bytes(bytes(MIB))
    start(paths, "-drive", f"id=stray,if=ide,index=1,format=raw,file={paths.directory}/stray")
    saved = snapshots.save(paths, "t")
    assert not saved.ram and "stray" in saved.note and saved.left_out == ("stray",)


def test_a_drive_that_discards_is_left_out_and_told(paths: MachinePaths) -> None:
    boot = make_disk(paths.directory / "boot.img")
    start(paths, "-drive", f"id=boot,if=ide,index=1,format=qcow2,snapshot=on,file={boot}")
    saved = snapshots.save(paths, "t")
    assert saved.ram and saved.left_out == ("boot",)
    snapshots.load(paths, "t")
    assert is_running(paths)


def test_a_machine_that_discards_all_has_no_snapshots(paths: MachinePaths) -> None:
    start(paths, "-snapshot")
    with pytest.raises(StateError, match="does not save its writes"):
        snapshots.save(paths, "t")
    stop(paths)
    nothing_is_left(paths)


def test_a_disk_added_since_the_start_is_no_part_of_it_yet(paths: MachinePaths) -> None:
    start(paths)
    other = own_disks.add(paths, "data", 4 * MIB).path
    assert snapshots.save(paths, "t").disks == (paths.disk.name,)
    snapshots.delete(paths, "t")
    stop(paths)
    assert snapshots.save(paths, "t").disks == (paths.disk.name, other.name)


def test_too_little_room_for_ram_saves_the_disks(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    start(paths)
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 20 * MIB)
    saved = snapshots.save(paths, "t")
    assert not saved.ram and "20 MiB left" in saved.note
    with pytest.raises(MachineError, match="20 MiB left"):
        snapshots.save(paths, "u", live=True)


def test_a_running_guest_survives_a_load_that_fails(paths: MachinePaths) -> None:
    start(paths)
    counts_on(paths)
    snapshots.save(paths, "small")
    stop(paths)
    start(paths, "-m", "24")
    far = counts_on(paths, beyond=count_in_ram(paths) + 100)
    with pytest.raises(MachineError, match=r"could not be loaded, and m is unchanged: QEMU says"):
        snapshots.load(paths, "small")
    assert is_running(paths) and count_in_ram(paths) >= far
    counts_on(paths, beyond=count_in_ram(paths))
    nothing_is_left(paths, "small")


LIVE_KILLED = """
import os, signal
from pommel.machine import qmp, snapshots
from pommel.machine.qmp import Qmp
real = Qmp.execute
async def deadly(self, command, arguments=None):
    hit = command == {moment!r}
    if hit and {before}: os.kill(os.getpid(), signal.SIGKILL)
    done = await real(self, command, arguments)
    if hit: os.kill(os.getpid(), signal.SIGKILL)
    return done
Qmp.execute = deadly
snapshots.{act}(paths, {tag!r})
"""


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("act", "moment"),
    [
        ("save", "snapshot-save"),
        ("save", "job-dismiss"),
        ("load", "snapshot-save"),
        ("load", "snapshot-load"),
        ("load", "job-dismiss"),
        ("load", "snapshot-delete"),
        ("delete", "snapshot-delete"),
    ],
)
def test_killed_while_the_machine_runs(paths: MachinePaths, act: str, moment: str, before: bool) -> None:
    start(paths)
    counts_on(paths)
    snapshots.save(paths, "old")
    tag = "new" if act == "save" else "old"
    status, _ = finish(pommel(LIVE_KILLED.format(moment=moment, before=before, act=act, tag=tag), paths))
    assert status == -signal.SIGKILL
    if (act, moment) == ("load", "snapshot-load"):
        snapshots.recover(paths)  # the guest stands still until then, so that it writes nothing that may be undone
    wait_until(lambda: is_running(paths))
    counts_on(paths, beyond=count_in_ram(paths))
    snapshots.recover(paths)
    kept = [snapshot.tag for snapshot in snapshots.list_snapshots(paths)]
    assert is_running(paths) and set(kept) <= {"old", "before-load-1"}
    nothing_is_left(paths, *kept)
    stop(paths)
    assert disk.check(paths.disk).sound


def test_a_qemu_that_dies_while_it_loads_leaves_what_was_there(paths: MachinePaths) -> None:
    pid = start(paths)
    counts_on(paths)
    snapshots.save(paths, "old")
    counts_on(paths, beyond=count_in_ram(paths) + 50)
    code = LIVE_KILLED.format(moment="snapshot-load", before=True, act="load", tag="old")
    finish(pommel(code, paths))
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    events: list[Progress] = []
    snapshots.recover(paths, report=events.append)
    assert any(event.warning and "before-load-1" in event.text for event in events)
    nothing_is_left(paths, "old", "before-load-1")
    snapshots.load(paths, "before-load-1", ram=False)


def cut_off_load(paths: MachinePaths) -> None:
    """A load of "old" whose Pommel is killed as it is about to ask QEMU for it."""
    finish(pommel(LIVE_KILLED.format(moment="snapshot-load", before=True, act="load", tag="old"), paths))
    assert not is_running(paths)


@pytest.mark.parametrize("done", ["none", "one", "all"])
def test_a_qemu_that_dies_between_two_disks_leaves_both_of_one_moment(paths: MachinePaths, done: str) -> None:
    other = own_disks.add(paths, "data", 4 * MIB).path
    set_count(other, 3)
    drive = ("-drive", f"id=data,if=none,format=qcow2,file={other}", "-device", "ide-hd,drive=data,bus=ide.1")
    pid = start(paths, *drive)
    counts_on(paths)
    snapshots.save(paths, "old")
    counts_on(paths, beyond=count_in_ram(paths) + 50)
    then = count_in_ram(paths)
    cut_off_load(paths)
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    wait_until(lambda: not snapshot_keeping.runs(paths))
    # What a QEMU does that goes from disk to disk and dies on the way.
    for path in {"none": [], "one": [paths.disk], "all": [paths.disk, other]}[done]:
        run(["qemu-img", "snapshot", "-a", "old", path])
    set_count(other, 99) if done == "none" else None
    events: list[Progress] = []
    snapshots.recover(paths, report=events.append)
    assert any("its disks are as they were then" in event.text for event in events)
    assert count_on_disk(paths.disk) >= then and count_on_disk(other) == 3
    nothing_is_left(paths, "old", "before-load-1")


@pytest.mark.parametrize("how", ["resume", "recover"])
def test_a_guest_that_stands_still_for_a_load_that_was_cut_off_goes_on(paths: MachinePaths, how: str) -> None:
    start(paths)
    counts_on(paths)
    snapshots.save(paths, "old")
    cut_off_load(paths)
    pausing.resume(paths) if how == "resume" else snapshots.recover(paths)
    counts_on(paths, beyond=count_in_ram(paths))
    nothing_is_left(paths, "old")
    stop(paths)
    assert disk.check(paths.disk).sound


def test_ctrl_c_while_ram_is_written_leaves_nothing(paths: MachinePaths) -> None:
    start(paths)
    counts_on(paths)

    def interrupts(event: Progress) -> None:
        if event.unit == "B":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        snapshots.save(paths, "t", report=interrupts)
    wait_until(lambda: is_running(paths))
    counts_on(paths, beyond=count_in_ram(paths))
    nothing_is_left(paths)


def test_two_at_once(paths: MachinePaths) -> None:
    code = "from pommel import locks\nwith locks.hold(paths.lock, busy='x'):\n    print('up', flush=True)\n    time.sleep(60)"
    other = pommel(code, paths)
    assert other.stdout is not None
    other.stdout.readline()
    try:
        with pytest.raises(PommelError, match="another pommel is working on m"):
            snapshots.save(paths, "t")
    finally:
        other.kill()
        finish(other)


def miscount(path: Path) -> None:
    """Leave a qcow2 as a qemu-img that was killed amid `snapshot -c`: clusters counted twice, and not marked so."""
    with path.open("r+b") as file:
        head = file.read(72)
        (table,) = struct.unpack_from(">Q", head, 48)
        file.seek(table)
        (block,) = struct.unpack(">Q", file.read(8))
        file.seek(block)
        counts = struct.unpack(">64H", file.read(128))
        file.seek(block)
        file.write(struct.pack(">64H", *(2 * count if at >= 4 else count for at, count in enumerate(counts))))
    assert not disk.check(path).sound


def test_what_a_killed_qemu_img_miscounted_is_put_right(paths: MachinePaths) -> None:
    set_count(paths.disk, 7)
    (snapshot_store.folder(paths) / ".half.building.abcdefgh").mkdir(parents=True)
    miscount(paths.disk)
    snapshots.recover(paths)
    assert disk.check(paths.disk) == disk.DiskCheck(True, 0, "") and count_on_disk(paths.disk) == 7


def test_a_save_whose_qemu_img_is_killed_leaves_sound_disks(
    paths: MachinePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(disks: object, tag: str) -> None:
        miscount(paths.disk)
        raise BuildError("qemu-img: killed")

    monkeypatch.setattr(snapshot_cold, "save", dies)
    with pytest.raises(BuildError, match="killed"):
        snapshots.save(paths, "one")
    assert disk.check(paths.disk).sound and not snapshot_store.half_made(paths)


def test_a_load_cut_off_with_miscounted_clusters_is_put_right(paths: MachinePaths) -> None:
    set_count(paths.disk, 1)
    snapshots.save(paths, "one")
    set_count(paths.disk, 2)
    snapshots.save_as(paths, "before-load-1")
    set_count(paths.disk, 3)  # what the load was putting there
    snapshot_store.begin_load(paths, snapshot_store.Loading("one", "before-load-1", live=False))
    miscount(paths.disk)
    snapshots.recover(paths)
    assert disk.check(paths.disk).sound and count_on_disk(paths.disk) == 2
    assert [each.tag for each in snapshots.list_snapshots(paths)] == ["one"]


def test_a_disk_that_is_beyond_repair_is_told(paths: MachinePaths) -> None:
    with paths.disk.open("r+b") as file:
        file.seek(40)  # where the first level of its table is: nowhere
        file.write(struct.pack(">Q", 1 << 40))
    with pytest.raises(BuildError, match=re.escape(str(paths.disk))):
        disk.repair(paths.disk)
