"""What can be done to the machines: the command, and what is there when it is done. No tests here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .model import DATA, MAIN, Disk, Machine, Machines
from .world import DISK_BYTES, MIB, POOL, World

_MOST_MACHINES = 4
_MOST_SAVED = 2
_MOST_BYTES = DISK_BYTES + 4 * MIB


@dataclass(frozen=True, slots=True)
class Operation:
    """One command. `name` is the machine whose QEMU and console may be killed; `after` what is there once it is done."""

    kind: str
    name: str
    words: tuple[str, ...]
    after: Machines
    folder: str | None = None  # of what is adopted


Maker = Callable[[Machines, str, random.Random], Operation | None]


def possible(machines: Machines, rng: random.Random) -> list[Operation]:
    """Every operation that makes sense now, one for each kind and machine."""
    found = [make(machines, name, rng) for name in machines for make in _MAKERS]
    return [each for each in found if each is not None]


def is_base(machines: Machines, name: str) -> bool:
    """Whether linked clones lie over the machine."""
    return any(each.base == name for each in machines.values())


def adopt(world: World, machines: Machines, rng: random.Random) -> Operation | None:
    """Adopt a machine of another tool's, which is made for it."""
    if (name := _free(machines, rng)) is None:
        return None
    mode = rng.choice(("copy", "move", "in-place"))
    folder = world.outside / f"{name}{rng.randrange(10**9)}"
    world.source(folder)
    flags = {"copy": (), "move": ("--move", "--yes"), "in-place": ("--in-place", "--yes")}[mode]
    outside = str(folder / "disk.qcow2") if mode == "in-place" else None
    made = Machine({MAIN: Disk(1, DISK_BYTES)}, external=outside)
    words = ("adopt", str(folder), "--name", name, *flags)
    return Operation(f"adopt {mode}", name, words, {**machines, name: made}, str(folder))


def _start(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine = machines[name]
    if machine.running or machine.golden or is_base(machines, name):
        return None
    disks = {**machine.disks, DATA: machine.disks.get(DATA, Disk(1, DISK_BYTES))}
    after = {**machines, name: replace(machine, running=True, asleep=False, disks=disks)}
    word = rng.choice(("start", "wake")) if machine.asleep else "start"
    return Operation("wake" if machine.asleep else "start", name, (word, name), after)


def _stop(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    if not machines[name].running:
        return None
    return _one("stop", machines, name, replace(machines[name], running=False), "stop", name, "--force")


def _sleep(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    if not machines[name].running:
        return None
    return _one("sleep", machines, name, replace(machines[name], running=False, asleep=True), "sleep", name)


def _forget(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    if not machines[name].asleep or rng.random() < 0.7:
        return None
    return _one(
        "wake --forget", machines, name, replace(machines[name], asleep=False), "wake", name, "--forget", "--yes"
    )


def _save(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine = machines[name]
    free = [tag for tag in ("t1", "t2", "t3") if tag not in machine.saved]
    if len(machine.saved) >= _MOST_SAVED or not free or machine.asleep:
        return None
    ram = machine.running and rng.random() < 0.7
    more = () if not machine.running else ("--ram",) if ram else ("--no-ram",)
    kind = "save with RAM" if ram else "save live" if machine.running else "save"
    return _one(kind, machines, name, machine.with_saved(free[0], ram), "snapshot", "save", name, free[0], *more)


def _load(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine = machines[name]
    if not machine.saved or machine.asleep or machine.golden or is_base(machines, name):
        return None
    tag = rng.choice(sorted(machine.saved))
    ram = machine.saved[tag].ram
    if machine.running and not ram:
        return None
    only = ram and not machine.running and rng.random() < 0.5
    after = replace(machine.back_at(tag), running=ram and not only)
    if machine.running:  # this guest has no flash: QEMU knows nothing of its NVRAM
        after = replace(after, nvram=machine.nvram)
    kind = "load disks" if not after.running else "load with RAM" if machine.running else "load and start"
    words = ("snapshot", "load", name, tag, "--yes", *(("--disk-only",) if only else ()))
    return _one(kind, machines, name, after, *words)


def _drop(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine = machines[name]
    if not machine.saved:
        return None
    tag = rng.choice(sorted(machine.saved))
    kind = "snapshot delete live" if machine.running else "snapshot delete"
    return _one(kind, machines, name, machine.without(tag), "snapshot", "delete", name, tag, "--yes")


def _clone(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine, new = machines[name], _free(machines, rng)
    if machine.running or machine.asleep or new is None or DATA not in machine.disks:
        return None
    linked = rng.random() < 0.5
    made = replace(machine, saved={}, golden=False, base=name if linked else None, external=None)
    word = "--linked" if linked else "--full"
    return Operation(f"clone {word}", name, ("clone", name, new, word), {**machines, new: made})


def _resize(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine = machines[name]
    size = machine.disks[MAIN].size + MIB
    if size > _MOST_BYTES or machine.asleep or machine.golden or is_base(machines, name):
        return None
    grown = machine.with_disk(MAIN, replace(machine.disks[MAIN], size=size))
    kind = "resize live" if machine.running else "resize"
    return _one(kind, machines, name, grown, "disk", "resize", name, f"{size // MIB}M")


def _compact(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine = machines[name]
    if machine.running or machine.asleep or machine.golden or machine.saved or is_base(machines, name):
        return None
    return _one("compact", machines, name, machine, "disk", "compact", name)


def _golden(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine = machines[name]
    if machine.running or machine.asleep or (rng.random() < 0.7 and not machine.golden):
        return None
    words = ("golden", name, *(("--off",) if machine.golden else ()))
    return _one("golden", machines, name, replace(machine, golden=not machine.golden), *words)


def _rename(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine, new = machines[name], _free(machines, rng)
    if machine.running or new is None or is_base(machines, name):
        return None
    after = {(new if each == name else each): what for each, what in machines.items()}
    return Operation("rename", name, ("rename", name, new), after)


def _delete(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    if machines[name].running or is_base(machines, name) or len(machines) < 2 or rng.random() < 0.3:
        return None
    after = {each: what for each, what in machines.items() if each != name}
    return Operation("delete", name, ("delete", name, "--yes"), after)


def _add(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine = machines[name]
    if len(machine.disks) > 2 or machine.asleep or DATA not in machine.disks:
        return None
    made = machine.with_disk("disk-more.qcow2", Disk(0, DISK_BYTES))
    return _one("add", machines, name, made, "disk", "add", name, "more", f"{DISK_BYTES // MIB}M")


def _move(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    machine = machines[name]
    if machine.running:
        return None
    called = rng.choice(["main", *(each[5:-6] for each in machine.disks if each != MAIN)])
    place = rng.choice((f"../drive/{rng.randrange(10**9)}.img", f"../h/machines/{name}"))
    return _one("disk move", machines, name, machine, "disk", "move", name, place, "--disk", called)


def _console(machines: Machines, name: str, rng: random.Random) -> Operation | None:
    if not machines[name].running or rng.random() < 0.6:
        return None
    return _one("console", machines, name, machines[name], "console", name, "-d", "--no-open")


def _one(kind: str, machines: Machines, name: str, after: Machine, *words: str) -> Operation:
    return Operation(kind, name, words, {**machines, name: after})


def _free(machines: Machines, rng: random.Random) -> str | None:
    free = [name for name in POOL if name not in machines]
    return rng.choice(free) if free and len(machines) < _MOST_MACHINES else None


def kinds() -> Iterator[str]:
    """The names of the functions that make operations."""
    yield from (make.__name__.strip("_") for make in _MAKERS)


_MAKERS: tuple[Maker, ...] = (
    _start, _stop, _sleep, _forget, _save, _load, _drop, _clone, _resize, _compact, _golden, _rename, _delete, _add,
    _move, _console,
)  # fmt: skip
