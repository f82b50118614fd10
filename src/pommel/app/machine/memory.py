"""A running machine's memory: what its guest may use, what QEMU uses, and a request for less. Band: app."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pommel.app.workspace import Workspace
from pommel.errors import PommelError, StateError, UsageError
from pommel.machine import ballooning, qmp, state, usage
from pommel.machine.events import note_event
from pommel.machine.runstate import MachineState
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore
from pommel.settings import format_size

LEAST_BYTES = 256 << 20  # with less, a guest spends all its time on swapping
_QUICK_S, _PATIENT_S, _QMP_S = 0.5, 4.0, 10.0
_GIVING_S = 300.0
Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Sizes in bytes: of the machine, what its guest may use now and reports as free, what QEMU uses of the host's.

    `balloon` is "none"; "silent" (the guest reports nothing through it, it may have no driver); "works"; or "there"
    (not asked). `reports`: the guest gives free pages back by itself (free page reporting).
    """

    name: str
    size_bytes: int
    guest_bytes: int | None
    unused_bytes: int | None
    memory_bytes: int | None
    balloon: str
    reports: bool

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


def look(name: str, *, quick: bool = False, workspace: Workspace | None = None) -> Memory:
    """The memory of the running machine `name`. `quick` does not ask the guest, which would take some seconds.

    Raises:
        StateError: it does not run.
        DeadlineError, MachineError: QEMU does not answer.
    """
    paths = (workspace or Workspace.current()).made(name)
    _must_run(paths, held=True)
    limit_s, patience_s = (_QUICK_S, 0.0) if quick else (_QMP_S, _PATIENT_S)
    found = qmp.run(qmp.within(paths.qmp, limit_s, lambda monitor: ballooning.look(monitor, patience_s=patience_s)))
    return _seen(paths, found, asked=not quick)


def known(name: str, *, workspace: Workspace) -> dict[str, Any] | None:
    """The memory for `info`, without asking the guest; None: it does not run, or its QEMU is busy."""
    with contextlib.suppress(PommelError):
        return look(name, quick=True, workspace=workspace).as_dict()
    return None


def give(name: str, size_bytes: int, *, workspace: Workspace | None = None, report: Report = ignore) -> Memory:
    """Ask the guest of machine `name` to use only `size_bytes` until it is stopped; return the result.

    Raises:
        UsageError: it is more than the machine has, or less than `LEAST_BYTES`.
        StateError: it does not run or is paused; it has no balloon.
        DeadlineError, MachineError: QEMU does not answer.
    """
    workspace = workspace or Workspace.current()
    paths = workspace.made(name)
    _must_run(paths, held=False)

    async def work() -> ballooning.Balloon:
        async with qmp.connect(paths.qmp, timeout_s=_QMP_S) as monitor:
            before = await ballooning.look(monitor)
            _may_have(name, before, size_bytes)
            start = before.guest_bytes or before.size_bytes
            total = abs(start - size_bytes) or 1

            def step(actual: int) -> None:
                report(Progress("memory", f"{name} has {format_size(actual)}", abs(start - actual), total, "B"))

            await ballooning.ask_for(monitor, size_bytes, step, timeout_s=_GIVING_S)
            return await ballooning.look(monitor, patience_s=_PATIENT_S)

    seen = _seen(paths, qmp.run(work()), asked=True)
    has = format_size(seen.guest_bytes or 0)
    report(Progress("memory", f"{name} has {has}", finished=True))
    note_event(paths, "memory", f"{format_size(size_bytes)} were requested; its guest has {has}")
    return seen


def checks(workspace: Workspace, spec: MachineSpec) -> Iterator[tuple[str, Level, str, str | None]]:
    """For the doctor: the balloon of a machine that has `balloon = true`."""
    if not spec.balloon:
        return
    paths = workspace.paths(spec.name)
    if not paths.record.exists() or state.observe(paths, ask_s=1.0).state is not MachineState.RUNNING:
        yield "balloon", "ok", "set; whether its guest supports it can be seen while it runs", None
        return
    seen = look(spec.name, workspace=workspace)
    text, mend = spell(seen), f"pommel restart {spec.name}"
    if seen.balloon == "silent":
        mend = "in a Linux guest: sudo modprobe virtio_balloon; macOS 11 and later should have a driver"
    yield "balloon", "ok" if seen.balloon == "works" else "warn", text, mend


def spell(seen: Memory) -> str:
    """The memory in words."""
    size = format_size(seen.size_bytes)
    holds = f"{format_size(seen.memory_bytes)} of this host's" if seen.memory_bytes else "not known"
    if seen.guest_bytes is None:
        return f"{size}, no balloon; QEMU uses {holds}"
    may = f"its guest may use {format_size(seen.guest_bytes)} of {size}"
    free = f", and reports that {format_size(seen.unused_bytes)} are free" if seen.unused_bytes is not None else ""
    silent = (
        ("; it reports nothing through its balloon, and may have no balloon driver") if seen.balloon == "silent" else ""
    )
    return f"{may}{free}{silent}; QEMU uses {holds}"


def spell_known(told: dict[str, Any]) -> str:
    """The memory in words, from the object in `info`."""
    return spell(Memory(**told))


def _seen(paths: MachinePaths, found: ballooning.Balloon, *, asked: bool) -> Memory:
    pid = state.observe(paths).pid
    sample = usage.sample_process(pid) if pid else None
    held = usage.since_start(sample).rss_bytes if sample else None
    word = "none" if found.guest_bytes is None else "there" if not asked else "silent"
    word = "works" if found.unused_bytes is not None else word
    return Memory(paths.name, found.size_bytes, found.guest_bytes, found.unused_bytes, held, word, found.reports)


def _may_have(name: str, now: ballooning.Balloon, size_bytes: int) -> None:
    if now.guest_bytes is None:
        raise StateError(
            f"{name} has no balloon device, which its guest needs to free memory",
            hint=f"write balloon = true into [machine.{name}] of pommel.toml, then: pommel restart {name}",
        )
    if not LEAST_BYTES <= size_bytes <= now.size_bytes:
        size = format_size(now.size_bytes)
        raise UsageError(
            f"{name} can have {format_size(LEAST_BYTES)} to {size}, not {format_size(size_bytes)}",
            hint=f"for more, set memory in [machine.{name}] of pommel.toml, and restart the machine",
        )


def _must_run(paths: MachinePaths, *, held: bool) -> None:
    seen = state.observe(paths, ask_s=1.0)
    if not seen.alive:
        raise StateError(f"{paths.name} is not running", hint=f"pommel start {paths.name}")
    if seen.state is MachineState.PAUSED and not held:
        raise StateError(f"{paths.name} is paused, and cannot free memory", hint=f"pommel resume {paths.name}")
