"""What may be done to a machine: every state by every work, and that it is asked with the lock held."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pommel import process
from pommel.errors import BuildError, BusyError, NotPermitted, StateError
from pommel.machine import cloning, disk, lifecycle, permission, record, resizing, savestate, snapshots
from pommel.machine.permission import Work, must_allow, working_on
from pommel.machine.record import MachineRecord
from pommel.paths import Home, MachinePaths
from pommel.progress import Progress
from waits import wait_until

from .bare import argv, finish, make, pommel
from .guests import DISK_BYTES, count_in_ram, drives, is_running, make_disk

WORKS = {name: work for name, work in vars(permission).items() if isinstance(work, Work)}
KEPT = MachineRecord("m", "trial", "a0b1c2d3-0000-4000-8000-000000000000", "52:54:00:00:00:01", 2222, "2026-01-01")
SOURCES = Path(permission.__file__).parents[1]


@pytest.fixture
def paths(home: Home) -> MachinePaths:
    made = make(home)
    make_disk(made.disk)
    return made


def run(paths: MachinePaths, *extra: str) -> None:
    lifecycle.start(paths, argv(paths, *drives(paths), *extra))
    wait_until(lambda: count_in_ram(paths) > 3)


def link(home: Home, base: MachinePaths, name: str = "c") -> None:
    """Make a linked clone, as the app does: its folder gets its name while the base's lock is held."""
    aside = home.machines / f".{name}.building.x"
    aside.mkdir()
    with working_on(base, permission.CLONED):
        cloning.clone_disks(base, aside, linked=True)
        aside.rename(home.machines / name)


def refused(paths: MachinePaths) -> set[str]:
    found = set()
    for name, work in WORKS.items():
        try:
            with working_on(paths, work):
                pass
        except StateError as refusal:
            assert paths.name in refusal.message and work.done in refusal.message and refusal.hint
            found.add(name)
    return found


def test_what_a_stopped_machine_allows(paths: MachinePaths) -> None:
    assert refused(paths) == set() and len(WORKS) >= 12


def test_what_a_running_machine_forbids(paths: MachinePaths) -> None:
    run(paths)
    assert refused(paths) == {
        *(
            "STARTED",
            "STARTED_THROWAWAY",
            "COMPACTED",
            "CHECKED",
            "CLONED",
            "CLONED_LINKED",
            "IMAGED",
            "GILDED",
            "RENAMED",
            "DELETED",
            "DISK_MOVED",
            "RENUMBERED",
            "RESTORED_OVER",
        )
    }


def test_what_a_sleeping_machine_forbids(paths: MachinePaths) -> None:
    run(paths)
    savestate.sleep(paths)
    assert refused(paths) == {
        *(
            "LOADED",
            "RESIZED",
            "COMPACTED",
            "DISK_ADDED",
            "CLONED",
            "CLONED_LINKED",
            "IMAGED",
            "GILDED",
            "RENUMBERED",
            "RESTORED_OVER",
            "DISPLAY_SET",
        )
    }
    with pytest.raises(StateError) as refusal:
        must_allow(paths, permission.RESIZED)
    assert refusal.value.hint == "wake it: pommel start m; or discard its saved memory: pommel wake m --forget"
    savestate.forget(paths)
    assert refused(paths) == set()


def test_what_a_golden_machine_forbids(paths: MachinePaths) -> None:
    record.save(paths.record, replace(KEPT, golden=True))
    assert refused(paths) == {"STARTED", "LOADED", "RESIZED", "COMPACTED", "RENUMBERED", "RESTORED_OVER", "DISPLAY_SET"}


def test_what_an_encrypted_machine_forbids(paths: MachinePaths) -> None:
    record.save(paths.record, replace(KEPT, encrypted=KEPT.uuid))
    assert refused(paths) == {"STARTED_THROWAWAY", "CLONED_LINKED", "IMAGED", "SLEPT", "BACKED_UP", "RESTORED_OVER"}


def test_what_linked_clones_forbid(home: Home, paths: MachinePaths) -> None:
    link(home, paths)
    assert refused(paths) == {"STARTED", "LOADED", "RESIZED", "COMPACTED", "RENAMED", "DELETED", "RESTORED_OVER"}


def test_what_is_called_by_its_room_asks_too(paths: MachinePaths) -> None:
    run(paths)
    snapshots.save(paths, "before", live=True)
    savestate.sleep(paths)
    slept = disk.snapshot_tags(paths.disk)
    for act in (
        lambda: snapshots.load(paths, "before"),
        lambda: snapshots.load(paths, "before", ram=False),
        lambda: snapshots.load(paths, "asleep"),  # it would stay, and be woken up to once more
        lambda: resizing.resize(paths, paths.disk, 2 * DISK_BYTES),
        lambda: cloning.clone_disks(paths, paths.directory.with_name("c"), linked=True),
    ):
        with pytest.raises(StateError, match="m sleeps and cannot be"):
            act()
    assert disk.snapshot_tags(paths.disk) == slept and disk.info(paths.disk).virtual_bytes == DISK_BYTES
    lifecycle.start(paths, argv(paths, *drives(paths), *savestate.START_ARGS))
    savestate.wake(paths)
    assert is_running(paths)


def test_a_clone_that_is_made_while_one_waits_for_the_lock_counts(
    home: Home, paths: MachinePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots.save(paths, "old")
    asks, said = threading.Event(), list[str]()
    real = permission.serialised

    def serialised(asked: MachinePaths, *, wait_s: float) -> contextlib.AbstractContextManager[None]:
        asks.set()
        return real(asked, wait_s=wait_s)

    def load() -> None:
        try:
            snapshots.load(paths, "old")
        except (StateError, BusyError) as refusal:
            said.append(refusal.message)

    with working_on(paths, permission.CLONED):
        monkeypatch.setattr(permission, "serialised", serialised)
        other = threading.Thread(target=load)
        other.start()
        asks.wait()
        link(home, paths)
    other.join()
    assert said == ["m cannot be restored from a snapshot: the disks of its linked clones depend on its own disks (c)"]


def test_a_disk_that_is_full_or_read_only_is_told_before_the_work(paths: MachinePaths) -> None:
    paths.disk.rename(kept := paths.directory.with_name("disk"))
    process.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", paths.directory])
    try:
        shutil.copyfile(kept, paths.disk)
        snapshots.save(paths, "one")
        (paths.directory / "ballast").write_bytes(bytes(20 << 20))
        with pytest.raises(BuildError, match="the disk is full"):
            snapshots.save(paths, "two")
        snapshots.delete(paths, "one")  # which makes room
        process.run(["mount", "-o", "remount,ro", paths.directory])
        with pytest.raises(NotPermitted, match="mounted read-only"):
            snapshots.save(paths, "two")
    finally:
        process.run(["umount", paths.directory])


def test_a_machine_that_was_deleted_meanwhile_is_not_there_any_more(home: Home) -> None:
    gone = home.machine("gone")
    with pytest.raises(StateError, match="the machine gone no longer exists"), working_on(gone, permission.SAVED):
        raise RuntimeError("entered")
    assert not gone.directory.exists()


def test_another_thread_is_another(paths: MachinePaths) -> None:
    said: list[str] = []

    def second() -> None:
        try:
            with working_on(paths, permission.SAVED, wait_s=0):
                said.append("entered")
        except BusyError as busy:
            said.append(busy.message)

    with working_on(paths, permission.SAVED):
        with working_on(paths, permission.SAVED):
            pass
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert said == ["another pommel is working on m (this process)"]


def test_a_load_that_was_cut_off_is_put_right_before_anything_is_made_of_the_disk(
    home: Home, paths: MachinePaths
) -> None:
    """Else the base of a linked clone would be put back under it."""
    run(paths)
    snapshots.save(paths, "live", live=True)
    lifecycle.stop(paths, force=True)
    snapshots.load(paths, "live")  # and no `resume`: whoever loaded it was killed
    link(home, paths)
    before = disk.snapshot_tags(paths.disk)
    snapshots.recover(paths)
    assert disk.snapshot_tags(paths.disk) == before == {"live": before["live"]}


def test_a_machine_cut_off_as_it_fell_asleep_never_runs_on(paths: MachinePaths) -> None:
    """Killed between the saving and the end of its QEMU: a guest that went on would be woken up to its past."""
    run(paths)
    code = """
    import signal
    from pommel.machine import savestate
    savestate._quit = lambda monitor: os.kill(os.getpid(), signal.SIGKILL)
    savestate.sleep(paths)
    """
    assert finish(pommel(code, paths))[0] == -signal.SIGKILL
    assert permission.sleeps(paths) and not is_running(paths)
    with pytest.raises(StateError, match="interrupted while it went to sleep or woke up") as refusal:
        lifecycle.resume(paths)
    assert "pommel stop --force m, then: pommel start m" in str(refusal.value.hint)
    with pytest.raises(StateError, match="sleeps and cannot be resized"):
        resizing.resize(paths, paths.disk, 2 * DISK_BYTES)
    heard: list[str] = []
    stopped = lifecycle.stop(paths, timeout_s=60, ask_guest=lambda: bool(heard.append("asked")))
    assert stopped.how == "quit" and heard == [] and permission.sleeps(paths)


def test_ctrl_c_once_it_is_saved_leaves_a_guest_that_runs_and_no_memory(paths: MachinePaths) -> None:
    run(paths)

    def interrupted(event: Progress) -> None:
        if event.text.startswith("asleep is saved"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        savestate.sleep(paths, report=interrupted)
    assert is_running(paths) and not permission.sleeps(paths)


def test_every_lock_of_a_machine_is_taken_in_one_place() -> None:
    """Whoever works on a machine goes by `working_on`, or by `serialised`, which says so here."""
    takes = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if "another pommel is working" in path.read_text()
    }
    assert takes == {"machine/exclusive.py"}
    alone = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if re.search(r"\bserialised\(", path.read_text()) and path.name != "exclusive.py"
    }
    assert alone == {
        "app/adopt/adopting.py",  # a name that nobody has yet
        "app/image/creating.py",  # a name that nobody has yet
        "app/machine/clones.py",  # the clone's name, which nobody has yet
        "app/network/forwarding.py",  # ports, added to a running machine too
        "app/share/changes.py",  # folders, the same
        "app/throwaway/holding.py",  # the base of a clone: `clones` asks
        "app/throwaway/warming.py",  # the running machine's memory, then it goes by `working_on`
        "app/unattended/machine_calls.py",  # the record of a machine that may run: that macOS is there
        "app/usb/plugging.py",  # USB devices, the same
        "app/disk/disks.py",  # check: puts nothing right, and asks
        "app/machine/machines.py",  # delete: the same
        "app/machine/making.py",  # a name that nobody has yet
        "app/mesh/membership.py",  # nothing of the machine's own
        "app/disk/restoring.py",  # a name that nobody has yet; asks where there is one
        "app/machine/power.py",  # says first that it runs already
        "machine/lifecycle.py",  # QEMU itself, for whom the caller has asked
        "machine/permission.py",
        "machine/savestate.py",  # falling asleep
        "machine/snapshot_loading.py",  # putting right
        "machine/stopping.py",  # sweeping
    }
