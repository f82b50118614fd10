"""A walk through operations, each with a kill at a random moment, and a judgement after each. No tests here."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pommel.errors import PommelError
from pommel.machine import permission

from . import judge, operations
from .judge import Loss
from .model import AUTOMATIC, Disk, Machine, Machines, Saved
from .operations import Operation
from .world import DISK_BYTES, NVRAM_BYTES, Kill, Ran, World, chance, stamp, world

WALK_STEPS = 40  # after which it begins anew, in a home of its own
_MOST_LOSSES = 10
_NO_QEMU = ("adopt", "disk move", "clone", "compact", "golden", "rename", "delete", "add")


@dataclass(slots=True)
class Tally:
    """What was done: kills that met something by operation and by what was killed, losses, and what refused."""

    kills: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    steps: int = 0

    @property
    def total(self) -> int:
        """All kills."""
        return sum(self.kills.values())


@dataclass(slots=True)
class Known:
    """How long an operation takes and how many changes of files it makes, as far as has been seen."""

    took_s: dict[str, float] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def learn(self, kind: str, ran: Ran) -> None:
        """Take note of a command that ended by itself, or came further than any before."""
        self.steps[kind] = max(self.steps.get(kind, 20), ran.steps)
        if not ran.killed:
            self.took_s[kind] = max(0.7 * self.took_s.get(kind, 0.0), ran.took_s)


def walks(
    seed: int,
    *,
    kills: int,
    seconds: float | None,
    tell: Callable[[str], None],
    steps: int = WALK_STEPS,
    keep: Path | None = None,
) -> Tally:
    """Walk until so many kills have met something, or the time is over; walk number n has the seed `seed` + n.

    What a loss left is copied into `keep`.
    """
    tally, known, end = Tally(), Known(), time.monotonic() + seconds if seconds else float("inf")
    while tally.total < kills and time.monotonic() < end and len(tally.losses) < _MOST_LOSSES:
        with world() as made:
            walk = Walk(made, seed, tally, known, tell)
            try:
                walk.go(steps, lambda: tally.total >= kills or time.monotonic() >= end)
            except Loss as loss:
                tally.losses.append(f"seed {seed} step {walk.step}: {walk.doing}: {loss}")
                tell(f"LOSS {tally.losses[-1]}")
                for line in walk.history:
                    tell(f"    {line}")
                if keep is not None:
                    tell(f"    the files are in {made.leave(keep / str(seed))}")
        seed += 1
    return tally


class Walk:
    """One walk in one home."""

    def __init__(self, made: World, seed: int, tally: Tally, known: Known, tell: Callable[[str], None]) -> None:
        self.world, self.rng, self.tally, self.known, self.tell = made, random.Random(seed), tally, known, tell
        self.machines: Machines = {}
        self.moment, self.step, self.doing = 1, 0, "adopting the first machine"
        self.last = ""
        self.history: list[str] = []

    def go(self, steps: int, over: Callable[[], bool]) -> None:
        """Do so many steps. Raises Loss."""
        self._first()
        for self.step in range(1, steps + 1):
            if over():
                return
            self.tally.steps += 1
            self._have_one_running()
            operation = self._choose()
            self._do(operation, self._kill_for(operation))
            if self.rng.random() < 0.3:
                self._stamp()

    def _first(self) -> None:
        first = operations.adopt(self.world, {}, random.Random(1))
        if first is None:
            raise Loss("no machine can be adopted")
        self._do(first, None)

    def _have_one_running(self) -> None:
        """Start a machine at times where none runs: half of all operations are on one that does."""
        if not any(machine.running for machine in self.machines.values()) and chance(self.rng, 0.6):
            starts = [each for each in operations.possible(self.machines, self.rng) if each.kind == "start"]
            if starts:
                self._do(self.rng.choice(starts), None)

    def _choose(self) -> Operation:
        found = operations.possible(self.machines, self.rng)
        if self.rng.random() < 0.08 and (more := operations.adopt(self.world, self.machines, self.rng)):
            return more
        running = [each for each in found if self.machines[each.name].running]
        if running and chance(self.rng, 0.7):  # there are fewer of those, and more that can go wrong
            found = running
        kinds = sorted({each.kind for each in found})
        kind = self.rng.choice(kinds)
        return self.rng.choice([each for each in found if each.kind == kind])

    def _kill_for(self, operation: Operation) -> Kill:
        part, delay = self.rng.random(), self.rng.random() * 1.1
        whats = ["command"] * 4 + ["family", "child"]
        if not operation.kind.startswith(_NO_QEMU):
            whats += ["qemu"] * 3 + ["console"] * (3 if self.world.console(operation.name) else 0)
        if operation.kind == "console":
            whats += ["console"] * 3
        what = self.rng.choice(whats)
        if what == "command" and self.rng.random() < 0.7:
            return Kill(what, step=1 + int(part * self.known.steps.get(operation.kind, 20)))
        return Kill(what, delay_s=delay * self.known.took_s.get(operation.kind, 0.5))

    def _do(self, operation: Operation, kill: Kill | None) -> None:
        self.doing = f"{' '.join(operation.words)}, {kill or 'no kill'}"
        self._count()
        before = self.machines
        ran = self.world.run(operation.words, kill, operation.name)
        self.last = ran.said
        end = "killed" if ran.killed else f"status {ran.status}"
        self.history.append(
            f"{self.step}: {self.doing}: {end}, {ran.took_s:.2f} s, {' / '.join(ran.said.split(chr(10))[-3:])[:160]}"
        )
        self.known.learn(operation.kind, ran)
        if "Traceback" in ran.said:
            raise Loss(f"a traceback: {ran.said[-600:]}")
        if ran.killed and kill is not None:
            self.tally.kills[operation.kind] += 1
            self.tally.met[kill.what] += 1
        elif ran.status == 0:
            self.machines = operation.after
        else:
            self.tally.refused[f"{operation.kind}: {ran.said.strip().splitlines()[-2:]}"[:200]] += 1
        if ran.killed or ran.status != 0:
            self._after_kill(operation, before, wanted_both=True)
        self._settle()
        self._judge_all()
        if operation.kind.startswith("adopt") and operation.name in self.machines:
            self._let_work(operation.name)

    def _after_kill(self, operation: Operation, before: Machines, *, wanted_both: bool) -> None:
        if left := judge.orphans(self.world):
            raise Loss(f"still there a second later: {left}")
        judge.told_truth(self.world)
        if operation.folder is not None:
            self._finish_adopting(operation)
            return
        self._next_command()
        ends = [self._as_found(before), self._as_found(operation.after)]
        why = [judge.differs(self.world, each) for each in ends]
        if all(why):
            raise Loss(f"neither before ({why[0]}) nor after ({why[1]}); {self.last[-300:]}")
        fitting = [each for each, wrong in zip(ends, why, strict=True) if wrong is None]
        self.machines = self._of_one_moment(operation, fitting)

    def _of_one_moment(self, operation: Operation, fitting: list[Machines]) -> Machines:
        """Which of the two it is that is there, by what is in the disks. A machine that runs is stopped for that."""
        if len(fitting) == 1 or operation.name not in fitting[0]:
            return fitting[0]
        if fitting[0][operation.name].running:
            self._must("stop", operation.name, "--force")
            fitting = [self._as_found(each) for each in fitting]
        said = []
        for each in fitting:
            try:
                judge.whole(self.world, operation.name, each[operation.name])
            except Loss as loss:
                said.append(str(loss))
            else:
                return each
        raise Loss("; ".join(said))

    def _finish_adopting(self, operation: Operation) -> None:
        """What was cut off is typed again, as the manual says."""
        judge.sources_whole(self.world, Path(str(operation.folder)), operation.name, gone_ok=True)
        ran = self.world.run(operation.words)
        if ran.status != 0 and "already" not in ran.said:
            raise Loss(f"adopting again fails: {ran.said.strip()[-300:]}")
        self.machines = operation.after

    def _as_found(self, wanted: Machines) -> Machines:
        """As wanted, but for what a kill may change: whether it runs, and the snapshots that a load makes for safety."""
        found = {}
        for name, machine in wanted.items():
            now = replace(machine, running=self.world.qemu(name) is not None)
            if name in self.world.home.names():
                _, sizes, automatic, asleep = judge.shape(self.world, name)
                before = self.machines.get(name, machine)
                for tag in automatic - set(now.saved):
                    now = replace(now, saved={**now.saved, tag: Saved(before.disks, before.nvram, before.count, False)})
                gone = {tag for tag in now.saved if tag.startswith(AUTOMATIC)} - automatic
                for tag in gone:
                    now = now.without(tag)
                if now.asleep and asleep:
                    now = replace(now, running=False)
                data = operations.DATA
                if data in sizes and data not in now.disks:  # the copy that a first start makes
                    now = now.with_disk(data, Disk(1, DISK_BYTES))
            found[name] = now
        return found

    def _next_command(self) -> None:
        """The next command on each machine, itself cut off at times; then one that is not."""
        for name in self.world.home.names():
            kept = self.world.workspace._stored_record(name)
            words = ("golden", name, *(() if kept and kept.golden else ("--off",)))
            if self.rng.random() < 0.15:
                part = self.rng.random()
                ran = self.world.run(words, Kill("command", step=1 + int(part * self.known.steps.get("next", 12))))
                self.known.learn("next", ran)
                if ran.killed:
                    self.tally.kills["the command after"] += 1
                    self.tally.met["command"] += 1
            if self.world.qemu(name) is not None and permission.sleeps(self.world.machine(name)):
                self._must("stop", name, "--force")  # cut off as it fell asleep or woke up: as the error says
            self._must(*words)

    def _must(self, *words: str) -> None:
        ran = self.world.run(words)
        if ran.status != 0:
            raise Loss(f"pommel {' '.join(words)} fails afterwards: {ran.said.strip()[-400:]}")

    def _settle(self) -> None:
        self.machines = self._as_found(self.machines)

    def _judge_all(self) -> None:
        if wrong := judge.differs(self.world, self.machines):
            raise Loss(wrong)
        judge.told_truth(self.world)
        if left := judge.strays(self.world, self.machines):
            raise Loss(f"stray files: {left}")
        if left := judge.orphans(self.world):
            raise Loss(f"processes of nobody: {left}")
        for name, machine in self.machines.items():
            if self.world.qemu(name) is None:
                count = judge.whole(self.world, name, machine)
                self.machines = {**self.machines, name: replace(machine, count=count, running=False)}

    def _count(self) -> None:
        """Nothing is known of how far a running guest has come; what it had when it was started stays the least."""

    def _let_work(self, name: str) -> None:
        """Let a guest that was never started run for a moment: its second disk is made then."""
        for words in (("start", name), ("stop", name, "--force")):
            self._must(*words)
        machine = self.machines[name]
        self.machines = {**self.machines, name: machine.with_disk(operations.DATA, Disk(1, DISK_BYTES))}
        self._judge_all()

    def _stamp(self) -> None:
        """Write a new moment into a machine that does not run, as its guest might."""
        free = [
            name
            for name, machine in self.machines.items()
            if not machine.running and not machine.asleep and not operations.is_base(self.machines, name)
        ]
        if not free:
            return
        name = self.rng.choice(free)
        self.moment = self.moment % 250 + 1
        machine: Machine = self.machines[name]
        for each in machine.disks:
            stamp(self.world.machine(name).directory / each, self.moment)
        self.world.machine(name).nvram.write_bytes(bytes([self.moment]) * NVRAM_BYTES)
        disks = {each: Disk(self.moment, disk.size) for each, disk in machine.disks.items()}
        self.machines = {**self.machines, name: replace(machine, disks=disks, nvram=self.moment)}


__all__ = ["PommelError", "Tally", "Walk", "walks"]
