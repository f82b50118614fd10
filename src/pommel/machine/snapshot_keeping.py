"""Saves and deletes a snapshot: the common steps of other modules. Band: shell.

Called with the machine's lock held, after `snapshot_loading.recover`.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable
from pathlib import Path

from pommel import locks
from pommel.errors import BuildError, PommelError, StateError
from pommel.machine import qmp, snapshot_cold, snapshot_live, snapshot_store
from pommel.machine.own_disks import all_disks
from pommel.machine.snapshot_record import Snapshot
from pommel.machine.snapshot_saving import SnapshotWish, save_cold, save_live
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report


def keep(paths: MachinePaths, tag: str, wanted: SnapshotWish, report: Report) -> Snapshot:
    """Save the machine as `tag`, completely or not at all.

    Raises:
        StateError, BuildError, MachineError: as `snapshots.save` says.
    """
    if tag in snapshot_store.tags(paths):
        raise StateError(
            f"{paths.name} already has a snapshot {tag}", hint=f"pommel snapshot delete {paths.name} {tag}"
        )
    report(Progress("snapshot", f"saving {paths.name} as {tag}"))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    try:
        with snapshot_store.making(paths, tag) as aside:
            try:
                saved = (save_live if runs(paths) else save_cold)(paths, tag, wanted, aside, report)
            except StateError:  # nothing was begun, and an existing snapshot of this name is not ours
                raise
            except BaseException:  # perhaps its qemu-img or QEMU was killed
                if not runs(paths):
                    with contextlib.suppress(
                        PommelError
                    ):  # in use by a QEMU that is ending: the next command sees to it
                        snapshot_cold.mend(wanted.disks)
                        snapshot_cold.delete(wanted.disks, tag)
                raise
            done = saved.record(tag, now)
            try:
                snapshot_store.write_record(aside, done)
            except BaseException:  # for Ctrl-C too; after a kill -9 the folder stays, and `recover` finds it
                remover(paths)(tag)
                raise
    except OSError as failure:
        raise BuildError(f"the snapshot cannot be written: {failure}") from failure
    report(Progress("snapshot", f"{tag} is saved" + (", with RAM" if done.ram else ""), finished=True))
    return done


def drop(paths: MachinePaths, tag: str) -> None:
    """Delete snapshot `tag`: first its name, then its data in the disks."""
    remove = remover(paths)
    snapshot_store.condemn(paths, tag)
    remove(tag)
    snapshot_store.forget(paths)


def remover(paths: MachinePaths) -> Callable[[str], None]:
    """A function that deletes a tag from all the machine's disks; QEMU does it for the disks that it has open."""
    files = all_disks(paths)
    if not runs(paths):
        return lambda tag: snapshot_cold.delete(files, tag)

    async def work(tag: str) -> None:
        async with snapshot_live.monitor_of(paths) as monitor:
            await snapshot_live.settle(monitor)
            open_ones = await snapshot_live.attached(monitor, files)
            if open_ones:
                await snapshot_live.delete(monitor, tag, await snapshot_live.drives(monitor, open_ones, paths.nvram))
        snapshot_cold.delete([file for file in files if file not in open_ones], tag)

    return lambda tag: qmp.run(work(tag))


def files_of(paths: MachinePaths, snapshot: Snapshot) -> list[Path]:
    """The disks of the snapshot."""
    return [paths.directory / Path(name).name for name in snapshot.disks]


def own_files(paths: MachinePaths) -> list[Path]:
    """The machine's disks; of a running one, without those that were added since its start."""
    files = all_disks(paths)
    if not runs(paths):
        return files

    async def work() -> list[Path]:
        async with snapshot_live.monitor_of(paths) as monitor:
            return await snapshot_live.attached(monitor, files)

    known = qmp.run(work())
    return [file for file in files if file in known or file == paths.disk]


def runs(paths: MachinePaths) -> bool:
    """Whether a QEMU uses the machine's disks."""
    return locks.holder(paths.pidfile) is not None
