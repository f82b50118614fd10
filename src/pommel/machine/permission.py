"""Checks whether a work on a machine is allowed in its present state, with its lock held. Band: shell.

A writer of a machine's disks, NVRAM or record works inside `working_on`. It takes the lock, repairs an interrupted
load, save or rename, removes what killed commands left, and then checks the state: anything that was seen before the
lock was held may have changed. The table below is the only place that says which states forbid which work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from pommel import locks, writable
from pommel.errors import StateError
from pommel.machine import leftovers, moved, naming, record, snapshot_store
from pommel.machine.exclusive import serialised
from pommel.machine.snapshot_record import SLEEP_TAG
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore

WAIT_S = 2.0
_within: ContextVar[frozenset[Path]] = ContextVar("_within", default=frozenset())  # locks, by `working_on`
_CLONE_IT = "pommel clone {name} NEW; or type first: pommel golden {name} --off"


@dataclass(frozen=True, slots=True)
class Work:
    """A work on a machine, as in "cannot be `done`", and the states that forbid it.

    `asleep`: the memory on its disk would continue over changed data. `golden` and `base`: its disks must stay as its
    clones found them, or linked clones have them as backing files. `encrypted`: why it is not possible for a machine
    with encrypted disks, and the command to use instead; None: it is possible.
    """

    done: str
    running: bool = False
    asleep: bool = False
    golden: bool = False
    base: bool = False
    golden_hint: str = _CLONE_IT
    takes_room: bool = True  # False for work that may help on a full disk
    encrypted: tuple[str, str] | None = None


STARTED = Work(
    "started",
    running=True,
    golden=True,
    base=True,
    golden_hint="pommel clone {name} NEW; or start it with --throwaway; or pommel golden {name} --off",
)
STARTED_THROWAWAY = Work(  # its writes are discarded
    "started",
    running=True,
    encrypted=(
        "what a throwaway run writes would lie on this host in plain text until its end",
        "pommel clone {name} NEW --full; start the clone, and delete it afterwards",
    ),
)
LOADED = Work("restored from a snapshot", asleep=True, golden=True, base=True)
SAVED = Work("saved as a snapshot")
SNAPSHOT_DELETED = Work("changed by deleting a snapshot", takes_room=False)
RESIZED = Work("resized", asleep=True, golden=True, base=True)
# It checks the space itself.
COMPACTED = Work("compacted", running=True, asleep=True, golden=True, base=True, takes_room=False)
CHECKED = Work("checked", running=True)
DISK_ADDED = Work("given another disk", asleep=True)
DISK_MOVED = Work("changed by moving its disk", running=True)  # saved memory is in the disk, and is moved with it
CLONED = Work("cloned", running=True, asleep=True)
CLONED_LINKED = Work(
    "cloned",
    running=True,
    asleep=True,
    encrypted=("a linked clone of an encrypted disk is not supported", "pommel clone {name} NEW --full"),
)
IMAGED = Work(
    "saved as an image",
    running=True,
    asleep=True,
    takes_room=False,  # the image is elsewhere
    encrypted=(
        "an image would hold its data in plain text",
        "make a copy in plain text on purpose, with encrypt = false for the copy, and save that",
    ),
)
SLEPT = Work(
    "put to sleep",
    encrypted=(
        "QEMU cannot write memory into an encrypted disk, and elsewhere it would lie in plain text",
        "pommel suspend {name} keeps it in memory; pommel snapshot save {name} TAG --no-ram keeps the disks",
    ),
)
GILDED = Work("made golden", running=True, asleep=True)
UNGILDED = Work("made a normal machine")
RENUMBERED = Work("given new serial numbers", running=True, asleep=True, golden=True)
DISPLAY_SET = Work("given other display settings", asleep=True, golden=True)
RENAMED = Work("renamed", running=True, base=True)  # saved memory contains no name and no path
DELETED = Work("deleted", running=True, base=True)
BACKED_UP = Work(
    "backed up",
    takes_room=False,
    encrypted=(
        "a backup would hold its data in plain text",
        "pommel stop {name}, and copy its folder (pommel info {name} names it): the copy is encrypted as that is",
    ),
)
RESTORED_OVER = Work(
    "replaced by a backup",
    running=True,
    asleep=True,
    golden=True,
    base=True,
    encrypted=("a machine from a backup has disks in plain text", "give it another name: --as NEW"),
)


@contextlib.contextmanager
def working_on(paths: MachinePaths, work: Work, *, wait_s: float = WAIT_S, report: Report = ignore) -> Iterator[None]:
    """Hold the machine's lock for the block, which does `work`.

    Raises:
        BusyError: another process works on it, for longer than `wait_s`.
        StateError: it does not exist any more, or its state forbids the work; the hint says how to end that state.
        NotPermitted, BuildError: its folder cannot be written to, or the disk is full.
        BuildError, MachineError: an interrupted load or save cannot be repaired; or its record cannot be read.
    """
    room_bytes, mend = writable.LEAST_BYTES if work.takes_room else 0, writable.take_it(paths.directory)
    writable.must_take(paths.directory, room_bytes=room_bytes, hint=mend)
    nested = paths.lock in _within.get()
    with serialised(paths, wait_s=wait_s):
        if not paths.directory.is_dir():
            raise StateError(f"the machine {paths.name} no longer exists", hint="to list the machines: pommel list")
        if snapshot_store.folder(paths).is_dir():
            from pommel.machine import snapshot_loading  # here, because most machines never have a snapshot

            snapshot_loading.recover(paths, report=report)
        if not nested:  # a nested call could remove files that the outer one uses
            if (paths.directory / moved.NAME).exists():
                from pommel.machine import moving  # here, because most machines have their disks in their folder

                moving.recover(paths)
            naming.put_right(paths)
            leftovers.sweep_machine(paths)
            leftovers.sweep_unfinished(paths.directory.parent)
        must_allow(paths, work)
        held = _within.set(_within.get() | {paths.lock})
        try:
            yield
        finally:
            _within.reset(held)


def must_allow(paths: MachinePaths, work: Work) -> None:
    """Check that no state of the machine forbids `work`. Call it with the lock held.

    Raises:
        StateError: one does.
        MachineError: its record cannot be read.
    """
    from pommel.machine import cloning  # here, because `cloning` imports this module

    pid = locks.holder(paths.pidfile)
    if work.running and pid is not None:
        hint = f"pommel stop {paths.name}"
        raise StateError(f"{paths.name} is running ({locks.whom(pid)}) and cannot be {work.done}", hint=hint)
    if work.asleep and sleeps(paths):
        raise _asleep(paths, work, runs=pid is not None)
    if work.golden and paths.record.exists() and record.load(paths.record).golden:
        raise StateError(
            f"{paths.name} is golden and cannot be {work.done}: it must stay unchanged for its clones",
            hint=work.golden_hint.format(name=paths.name),
        )
    if work.encrypted is not None and paths.record.exists() and record.load(paths.record).encrypted is not None:
        why, hint = work.encrypted
        raise StateError(
            f"{paths.name} is encrypted and cannot be {work.done}: {why}", hint=hint.format(name=paths.name)
        )
    if work.base:
        cloning.refuse_if_base(paths.directory.parent, paths.name, work.done)


def sleeps(paths: MachinePaths) -> bool:
    """Whether the machine has saved memory on its disk. While it has, its guest must not run."""
    return SLEEP_TAG in snapshot_store.tags(paths)


def must_not_sleep(paths: MachinePaths) -> None:
    """Check that a running QEMU may let its guest continue.

    Raises:
        StateError: falling asleep or waking up was interrupted, and the guest's memory is still on disk.
    """
    if sleeps(paths):
        raise StateError(
            f"{paths.name} was interrupted while it went to sleep or woke up, and its guest must not run before it "
            "has woken up",
            hint=f"pommel stop --force {paths.name}, then: pommel start {paths.name}; it continues from its saved "
            "state",
        )


def _asleep(paths: MachinePaths, work: Work, *, runs: bool) -> StateError:
    wake = f"pommel start {paths.name}" if not runs else f"pommel stop --force {paths.name}; pommel start {paths.name}"
    return StateError(
        f"{paths.name} sleeps and cannot be {work.done}: its disks must not change before it wakes up",
        hint=f"wake it: {wake}; or discard its saved memory: pommel wake {paths.name} --forget",
    )
