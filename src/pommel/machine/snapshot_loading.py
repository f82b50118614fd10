"""Loads a snapshot and, if the load fails or is interrupted, returns to the state before. Band: shell.

Before a load, the present state is saved as a snapshot too, and a note is written that the load begins; at the end
both are removed. A remaining note tells `recover` what to repair.
"""

from __future__ import annotations

from dataclasses import dataclass

from pommel.errors import BuildError, MachineError, StateError
from pommel.machine import qmp, snapshot_cold, snapshot_live, snapshot_store
from pommel.machine.exclusive import serialised
from pommel.machine.own_disks import all_disks
from pommel.machine.permission import LOADED, working_on
from pommel.machine.snapshot_keeping import drop, files_of, keep, remover, runs
from pommel.machine.snapshot_record import Snapshot, automatic_tag
from pommel.machine.snapshot_saving import SnapshotWish
from pommel.machine.snapshot_store import Loading
from pommel.paths import MachinePaths, write_atomic
from pommel.progress import Progress, Report, ignore, warn

_BROKEN = "restore-vm"  # QEMU's word for a guest whose load failed half-way
_RUNNING = "running"


@dataclass(frozen=True, slots=True)
class LoadedSnapshot:
    """A loaded snapshot. With `start_args`, QEMU must be started with them, and `resume` called."""

    snapshot: Snapshot
    start_args: tuple[str, ...] = ()


def load(paths: MachinePaths, tag: str, *, ram: bool | None = None, report: Report = ignore) -> LoadedSnapshot:
    """Restore the machine from snapshot `tag`; its present state is lost, unless the load fails.

    A running machine continues from the snapshot at once, if it contains RAM. With `ram` False the RAM is not loaded
    into a stopped machine: the guest will find its disk as after a power failure.

    Raises:
        StateError: there is no such snapshot, its disks lack it, or the machine runs and it has no RAM; or the
            machine sleeps, is golden, or has linked clones.
        BusyError: another process works on the machine.
        BuildError, MachineError: it cannot be loaded; the machine is unchanged.
    """
    with working_on(paths, LOADED, report=report):
        snapshot = snapshot_store.read(paths, tag)
        _may_be_loaded(paths, snapshot, ram)
        report(Progress("load", f"{paths.name} is restored to {tag}"))
        loaded = (_load_live if runs(paths) else _load_cold)(paths, snapshot, ram, report)
        report(Progress("load", f"{paths.name} is restored to {tag}", finished=True))
        return loaded


def resume(paths: MachinePaths, tag: str, *, once: bool = False, report: Report = ignore) -> None:
    """Let the guest of a QEMU started with `LoadedSnapshot.start_args` continue from the RAM in snapshot `tag`.

    With `once` the snapshot is deleted before the guest continues.

    Raises:
        MachineError: QEMU cannot load it, for example because it was saved with other memory or devices.
        StateError, DeadlineError: QEMU does not run, or does not answer.
    """
    files = files_of(paths, snapshot_store.read(paths, tag))
    pending = snapshot_store.loading(paths)

    async def work() -> None:
        async with snapshot_live.monitor_of(paths) as monitor:
            found = await snapshot_live.drives(monitor, files, paths.nvram)
            await snapshot_live.load_with_ram(monitor, tag, found, same=once, report=report)
            # Before the guest can do anything that a repair would undo.
            snapshot_store.end_load(paths)
            if once:
                snapshot_store.condemn(paths, tag)
            await monitor.execute("cont")

    with serialised(paths):
        qmp.run(work())
        if pending is not None:
            drop(paths, pending.safety)
        if once:
            recover(paths, report=report)  # it removes the condemned snapshot from the disks
    report(Progress("load", f"{paths.name} continues from {tag}", finished=True))


def recover(paths: MachinePaths, *, report: Report = ignore) -> None:
    """Repair what a killed process left: a load that has not ended, a snapshot that is half made or half deleted.

    A stopped machine returns to the state before the load. It is cheap if there is nothing to do.

    Raises:
        BusyError: another process works on the machine.
        BuildError, MachineError: the repair is not possible.
    """
    if not snapshot_store.folder(paths).is_dir():
        return
    with serialised(paths):
        if (pending := snapshot_store.loading(paths)) is not None:
            _end(paths, pending, report)
        if left := snapshot_store.half_made(paths):
            if not runs(paths):
                snapshot_cold.mend(all_disks(paths))
            remove = remover(paths)
            for tag in left:
                remove(tag)
        snapshot_store.forget(paths)


def _may_be_loaded(paths: MachinePaths, snapshot: Snapshot, ram: bool | None) -> None:
    if lacking := snapshot_cold.lacking(files_of(paths, snapshot), snapshot.tag):
        raise StateError(f"the snapshot {snapshot.tag} is no longer in {', '.join(lacking)}: it cannot be loaded")
    if ram and not snapshot.ram:
        raise StateError(f"the snapshot {snapshot.tag} contains no RAM")
    if runs(paths) and (not snapshot.ram or ram is False):
        raise StateError(
            f"{paths.name} is running, and {snapshot.tag} would be loaded without RAM: the disk would change under "
            "the running guest",
            hint=f"pommel stop {paths.name}",
        )


def _load_cold(paths: MachinePaths, snapshot: Snapshot, ram: bool | None, report: Report) -> LoadedSnapshot:
    pending = _begin(paths, snapshot, live=False, report=report)
    try:
        _put_back(paths, snapshot)
    except BaseException:  # for Ctrl-C too; if this fails as well, `recover` tries again
        _end(paths, pending, report)
        raise
    if snapshot.ram and ram is not False:
        return LoadedSnapshot(snapshot, ("-S",))
    snapshot_store.end_load(paths)
    drop(paths, pending.safety)
    return LoadedSnapshot(snapshot)


def _load_live(paths: MachinePaths, snapshot: Snapshot, ram: bool | None, report: Report) -> LoadedSnapshot:
    pending = _begin(paths, snapshot, live=True, report=report)
    try:
        qmp.run(_goto(paths, snapshot.tag, report=report))
    except MachineError as failure:
        _end(paths, pending, report)
        if not runs(paths):
            raise MachineError(
                f"{snapshot.tag} could not be loaded, and QEMU has ended: {failure.message}",
                hint=f"pommel log {paths.name}; to return to the state before: pommel snapshot load {paths.name} "
                f"{pending.safety}",
            ) from failure
        raise MachineError(
            f"{snapshot.tag} could not be loaded, and {paths.name} is unchanged: {failure.message}"
        ) from failure
    snapshot_store.end_load(paths)
    if pending.ran:
        qmp.run(_go_on(paths))
    drop(paths, pending.safety)
    return LoadedSnapshot(snapshot)


def _begin(paths: MachinePaths, snapshot: Snapshot, *, live: bool, report: Report) -> Loading:
    """Save the present state under a tag of ours, pause the guest, and note that a load begins."""
    safety = automatic_tag(set(snapshot_store.tags(paths)))
    note = f"the state before {snapshot.tag} was loaded"
    keep(paths, safety, SnapshotWish(tuple(files_of(paths, snapshot)), live, note), report)
    ran = qmp.run(_stand_still(paths)) if live else None
    pending = Loading(snapshot.tag, safety, live, ran)
    try:
        snapshot_store.begin_load(paths, pending)
    except OSError as failure:
        if ran:
            qmp.run(_go_on(paths))
        drop(paths, safety)
        raise BuildError(f"the load cannot begin: {failure}") from failure
    return pending


async def _stand_still(paths: MachinePaths) -> bool:
    """Stop the guest's vCPUs; return whether they ran."""
    async with snapshot_live.monitor_of(paths) as monitor:
        if await monitor.status() != _RUNNING:
            return False
        await monitor.execute("stop")
        return True


async def _go_on(paths: MachinePaths) -> None:
    async with snapshot_live.monitor_of(paths) as monitor:
        if await monitor.status() != _RUNNING:
            await monitor.execute("cont")


async def _goto(paths: MachinePaths, tag: str, *, go_on: bool = False, report: Report = ignore) -> None:
    files = files_of(paths, snapshot_store.read(paths, tag))
    async with snapshot_live.monitor_of(paths) as monitor:
        found = await snapshot_live.drives(monitor, files, paths.nvram)
        await snapshot_live.load_with_ram(monitor, tag, found, report=report)
        if go_on:
            await monitor.execute("cont")


def _end(paths: MachinePaths, pending: Loading, report: Report) -> None:
    """End an interrupted or failed load, with the state before it wherever that is certain."""
    if pending.live == runs(paths):
        if pending.live:
            _undo_live(paths, pending)
        else:
            snapshot_cold.mend(all_disks(paths))
            _put_back(paths, snapshot_store.read(paths, pending.safety))
        snapshot_store.end_load(paths)
        if pending.ran:
            qmp.run(_go_on(paths))
        drop(paths, pending.safety)
        return
    told = f"a load of {pending.tag} was interrupted; the state before is saved as snapshot {pending.safety}"
    if pending.ran is not None and not runs(paths):
        # QEMU died during the load or after it. The guest was paused, so nothing is lost by the return to the state
        # before; without the return, the disks could be of two different moments.
        snapshot_cold.mend(all_disks(paths))
        _put_back(paths, snapshot_store.read(paths, pending.safety))
        told += ", and its disks are as they were then"
    # Else the guest may have worked since: its data is not overwritten.
    snapshot_store.end_load(paths)
    warn(report, told)


def let_it_end(paths: MachinePaths, *, report: Report = ignore) -> None:
    """End an interrupted load, before the guest that is paused for it continues. Raises as `recover`."""
    if snapshot_store.loading(paths) is not None:
        recover(paths, report=report)


def _undo_live(paths: MachinePaths, pending: Loading) -> None:
    if not qmp.run(_is_broken(paths)):
        return  # the load was complete, or never begun
    try:
        qmp.run(_goto(paths, pending.safety, go_on=pending.ran is None))
    except MachineError as failure:
        snapshot_store.end_load(paths)
        raise MachineError(
            f"{pending.tag} could not be loaded, and {paths.name} cannot be used now: {failure.message}",
            hint=f"pommel stop --force {paths.name}; then: pommel snapshot load {paths.name} {pending.safety}",
        ) from failure


async def _is_broken(paths: MachinePaths) -> bool:
    async with snapshot_live.monitor_of(paths) as monitor:
        job = await snapshot_live.settle(monitor)
        return (job is not None and bool(job[1])) or await monitor.status() == _BROKEN


def _put_back(paths: MachinePaths, snapshot: Snapshot) -> None:
    """Restore disks and NVRAM of a stopped machine; it can be repeated after an interruption."""
    snapshot_cold.apply(files_of(paths, snapshot), snapshot.tag)
    try:
        if snapshot.nvram:
            write_atomic(paths.nvram, snapshot_store.nvram_of(paths, snapshot.tag).read_bytes(), mode=0o600)
        else:
            paths.nvram.unlink(missing_ok=True)
    except OSError as failure:
        raise BuildError(f"the firmware's variables cannot be restored: {failure}") from failure
