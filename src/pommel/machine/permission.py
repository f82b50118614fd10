"""What may be done to a machine as it is now, asked with its lock held. Band: shell.

Whoever writes a machine's disks, NVRAM or record does it inside `working_on`. It takes the lock, puts right what a
killed load, save or rename left, takes away what any killed command left, and looks then; what was seen before the lock
was had may have changed meanwhile. Which states forbid which work stands in the table below, and nowhere else.
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
    """Something that is done to a machine, as in "cannot be `done`", and the states that forbid it.

    `asleep`: the memory on its disk would wake up over what has changed. `golden` and `base`: its disks are to stay as
    its clones found them, or linked clones lie over them. `encrypted`: why it cannot be done to a machine whose disks
    are encrypted, and what to type instead; None: it can.
    """

    done: str
    running: bool = False
    asleep: bool = False
    golden: bool = False
    base: bool = False
    golden_hint: str = _CLONE_IT
    takes_room: bool = True  # else it may be what a full disk needs
    encrypted: tuple[str, str] | None = None


STARTED = Work(
    "started",
    running=True,
    golden=True,
    base=True,
    golden_hint="pommel clone {name} NEW; or start it with --throwaway; or pommel golden {name} --off",
)
STARTED_THROWAWAY = Work(  # nothing of it is kept
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
COMPACTED = Work("compacted", running=True, asleep=True, golden=True, base=True, takes_room=False)  # looks itself
CHECKED = Work("checked", running=True)
DISK_ADDED = Work("given another disk", asleep=True)
DISK_MOVED = Work("changed by moving its disk", running=True)  # memory that sleeps is in the disk, and goes along
CLONED = Work("cloned", running=True, asleep=True)
CLONED_LINKED = Work(
    "cloned",
    running=True,
    asleep=True,
    encrypted=("a linked clone of an encrypted disk is not supported", "pommel clone {name} NEW --full"),
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
RENAMED = Work("renamed", running=True, base=True)  # memory that sleeps knows no name and no path
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
    """Hold the machine's lock for the block, in which `work` is done to it.

    Raises:
        BusyError: somebody else is at work on it, for longer than `wait_s`.
        StateError: it is gone by now, or a state that it is in forbids the work; the hint says what ends that state.
        NotPermitted, BuildError: its folder cannot be written to, or the disk is full.
        BuildError, MachineError: what a killed load or save left cannot be put right; or its record cannot be read.
    """
    room_bytes, mend = writable.LEAST_BYTES if work.takes_room else 0, writable.take_it(paths.directory)
    writable.must_take(paths.directory, room_bytes=room_bytes, hint=mend)
    nested = paths.lock in _within.get()
    with serialised(paths, wait_s=wait_s):
        if not paths.directory.is_dir():
            raise StateError(f"the machine {paths.name} no longer exists", hint="to list the machines: pommel list")
        if snapshot_store.folder(paths).is_dir():
            from pommel.machine import snapshot_loading  # not for a machine that never had a snapshot

            snapshot_loading.recover(paths, report=report)
        if not nested:  # else what is there may be in use
            if (paths.directory / moved.NAME).exists():
                from pommel.machine import moving  # not for a machine whose disks lie in its folder

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
    """See that no state of the machine forbids `work`. Call it with the lock held.

    Raises:
        StateError: one does.
        MachineError: its record cannot be read.
    """
    from pommel.machine import cloning  # which clones inside `working_on`

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
    """Whether the machine has memory on its disk that it would wake up to. Its guest must not run while it has."""
    return SLEEP_TAG in snapshot_store.tags(paths)


def must_not_sleep(paths: MachinePaths) -> None:
    """See that a QEMU that lives may let its guest go on.

    Raises:
        StateError: falling asleep or waking up was cut off, and the guest's memory is on disk still.
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
