"""Puts a running machine to sleep on disk, and wakes it up. Band: shell.

It uses a snapshot with RAM under its own tag, and not a migration to a file: a file is independent of the disk, so that
a start without it would leave RAM that no longer fits the disk. Here both are stored together. Whatever prevents such a
snapshot prevents sleep too (`+invtsc` without `tsc-frequency`: QEMU reports it, and so do we).

To wake it: with the machine's lock held, start QEMU with `START_ARGS` added, then call `wake`. To start without the
memory: `forget`.
"""

from __future__ import annotations

from pommel.errors import DeadlineError, StateError
from pommel.machine import qmp, snapshot_store, snapshots
from pommel.machine.exclusive import serialised, sweep
from pommel.machine.permission import SLEPT, must_allow, sleeps
from pommel.machine.pinned import pin_holder
from pommel.machine.qmp import Qmp
from pommel.machine.snapshot_record import SLEEP_TAG, Snapshot
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore

START_ARGS = ("-S",)
_NOTE = "saved when the machine was put to sleep; it wakes from this"
_END_S = 60.0
_QMP_S = 10.0


def sleep(paths: MachinePaths, *, report: Report = ignore) -> Snapshot:
    """Save the running machine with its RAM, and end its QEMU before the guest continues.

    Raises:
        StateError: it does not run, or already sleeps; or its disks are encrypted.
        MachineError: its RAM cannot be saved, and the message says why; it continues to run.
    """
    with serialised(paths), pin_holder(paths.pidfile) as qemu:
        if qemu is None:
            raise StateError(f"{paths.name} is not running", hint=f"pommel start {paths.name}")
        must_allow(paths, SLEPT)
        ran = qmp.run(qmp.within(paths.qmp, _QMP_S, _hold))
        try:
            saved = snapshots.save_as(paths, SLEEP_TAG, live=True, note=_NOTE, report=report)
        except BaseException:  # for Ctrl-C too
            if sleeps(paths):  # it was saved anyway: the guest must not run before this is removed
                snapshots.delete(paths, SLEEP_TAG)
            if ran:
                qmp.run(qmp.within(paths.qmp, _QMP_S, _go_on))
            raise
        qmp.run(qmp.within(paths.qmp, _QMP_S, _quit))
        if not qemu.ended(_END_S):
            raise DeadlineError(f"{paths.name} is saved, but its QEMU does not end", hint=f"pommel stop {paths.name}")
        sweep(paths)
    report(Progress("sleep", f"{paths.name} sleeps on disk", finished=True))
    return saved


def asleep(paths: MachinePaths) -> Snapshot | None:
    """The saved state of a sleeping machine; None: it does not sleep.

    Raises:
        MachineError: the record cannot be used.
    """
    return snapshot_store.read(paths, SLEEP_TAG) if sleeps(paths) else None


def wake(paths: MachinePaths, *, report: Report = ignore) -> None:
    """Let the guest continue, in a QEMU that was started with `START_ARGS`; the saved state is then removed.

    Raises:
        StateError: the machine does not sleep, or QEMU does not run.
        MachineError: QEMU cannot load it: the machine has other memory or devices now. It still sleeps; stop QEMU.
    """
    if asleep(paths) is None:
        raise StateError(f"{paths.name} is not asleep", hint=f"pommel start {paths.name}")
    snapshots.resume(paths, SLEEP_TAG, once=True, report=report)


def forget(paths: MachinePaths) -> None:
    """Remove the sleeping machine's RAM: its guest will find its disk as after a power failure.

    Raises:
        StateError: the machine does not sleep.
    """
    if asleep(paths) is None:
        raise StateError(f"{paths.name} is not asleep")
    snapshots.delete(paths, SLEEP_TAG)


async def _hold(monitor: Qmp) -> bool:
    """Stop the vCPUs; return whether they ran."""
    ran = await monitor.status() == "running"
    await monitor.execute("stop")
    return ran


async def _go_on(monitor: Qmp) -> None:
    await monitor.execute("cont")


async def _quit(monitor: Qmp) -> None:
    await monitor.execute("quit")
