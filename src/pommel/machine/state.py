"""Determines a machine's state by observation. Band: shell.

It does not depend on a wrapper's pid or a daemon. QEMU runs if it holds the lock on its pidfile. It removes the pidfile
when it ends by itself, so a pidfile without a lock is left by a crash. `run.json` distinguishes starting from running:
it names the process that starts the machine, then the QEMU that answered QMP; both with the process's start time, so
that a file from before a kill -9 or a power failure is recognized as invalid.
"""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pommel import json_file, locks
from pommel.errors import PommelError
from pommel.handles import start_ticks
from pommel.machine import logs
from pommel.machine.journal import telling
from pommel.machine.runstate import FULL, NO_ROOM, MachineState, Observed, read_status
from pommel.paths import MachinePaths

if TYPE_CHECKING:
    from pommel.machine.qmp import Qmp

__all__ = ["MachineState", "Observed", "forget_run", "is_disk_full", "mark_running", "mark_starting", "observe"]

_LAST_WORDS = 20  # lines of QEMU's log that are checked


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The contents of run.json: a process, by pid and by its start time in clock ticks since that boot."""

    phase: str  # starting: the process that starts it; running: QEMU
    pid: int
    start_ticks: int
    boot_id: str
    accel: str | None = None
    # The folder of its sockets (`pommel.sockets` reads it); earlier versions did not write it.
    runtime: str | None = None


def observe(paths: MachinePaths, *, ask_s: float = 0.0) -> Observed:
    """Determine the state of machine `paths.name`.

    It reads three small files. With `ask_s` a running QEMU is also asked over QMP, for at most this time, whether its
    guest runs or is paused; not from inside an event loop. One that is busy or hangs counts as running, with a
    `detail`.
    """
    pid = locks.holder(paths.pidfile)
    run = _load(run_file(paths))
    begun = run is not None and start_ticks(run.pid) == run.start_ticks and _boot_id() == run.boot_id
    if run is not None and begun and run.phase == "starting":
        return Observed(paths.name, MachineState.STARTING, pid)
    if pid is None:
        return _at_rest(paths, run)
    seen = _alive(paths, pid, run.accel if run is not None and begun and run.pid == pid else None)
    return ask_all([(paths, seen)], ask_s)[0] if ask_s else seen


def ask_all(looks: Sequence[tuple[MachinePaths, Observed]], ask_s: float) -> list[Observed]:
    """Ask all running ones of these, at the same time, whether their guests run; not from inside an event loop.

    For one that ended meanwhile, the new state is returned.
    """
    living = [index for index, (_, seen) in enumerate(looks) if seen.state is MachineState.RUNNING]
    found = [seen for _, seen in looks]
    if living:
        import asyncio  # with qmp, the import is half the cost of a look that finds nothing running

        from pommel.machine import qmp

        async def ask() -> list[Observed]:
            return await asyncio.gather(*(_query_qemu(*looks[index], ask_s) for index in living))

        for index, answer in zip(living, qmp.run(ask()), strict=True):
            paths = looks[index][0]
            # A query takes up to `ask_s`, and a QEMU that has just ended gives no answer either.
            found[index] = answer if locks.holder(paths.pidfile) is not None else observe(paths)
    return found


def mark_starting(paths: MachinePaths) -> None:
    """Record that this process starts the machine; the record is valid while this process lives."""
    _save(paths, "starting", os.getpid(), None)


def mark_running(paths: MachinePaths, pid: int, accel: str | None = None) -> None:
    """Record that QEMU `pid` has answered QMP; the record is valid while that QEMU lives."""
    _save(paths, "running", pid, accel)


def forget_run(paths: MachinePaths) -> None:
    """Remove the record of a run that is over."""
    run_file(paths).unlink(missing_ok=True)


def run_file(paths: MachinePaths) -> Path:
    """The path of the record of the present run."""
    return paths.directory / "run.json"


def _at_rest(paths: MachinePaths, run: RunRecord | None) -> Observed:
    if not paths.pidfile.exists():
        return Observed(paths.name, MachineState.STOPPED)
    if run is not None and run.boot_id != _boot_id():
        return Observed(paths.name, MachineState.CRASHED, detail="the host went down while it ran")
    said = telling(logs.last(paths, _LAST_WORDS))
    why = f"its last output: {said}" if said else "it printed nothing; if the host ran out of memory, dmesg shows it"
    return Observed(paths.name, MachineState.CRASHED, detail=f"QEMU was killed or crashed; {why}")


def _alive(paths: MachinePaths, pid: int, accel: str | None) -> Observed:
    seen = Observed(paths.name, MachineState.RUNNING, pid if pid > 0 else None, accel=accel)
    ticks = start_ticks(pid)
    if ticks is None:  # in another container, or it just ended
        return seen
    # CLOCK_BOOTTIME includes sleep, and does not jump when the wall clock is set.
    uptime_s = max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=uptime_s)
    return replace(seen, uptime_s=uptime_s, since=since)


async def _query_qemu(paths: MachinePaths, seen: Observed, ask_s: float) -> Observed:
    from pommel.machine import qmp

    try:
        status = await qmp.query_status(paths.qmp, timeout_s=ask_s)
        full = status == NO_ROOM and await qmp.within(paths.qmp, ask_s, is_disk_full)
    except PommelError:
        if not paths.qmp.exists():
            return replace(seen, detail=sockets_gone(paths))
        return replace(seen, detail="QEMU's monitor is busy or does not answer")
    state, detail = read_status(status)
    return replace(seen, state=state, detail=FULL.format(name=paths.name, folder=paths.directory) if full else detail)


def sockets_gone(paths: MachinePaths) -> str:
    """The message for a QEMU that runs but cannot be reached any more."""
    return f"its sockets are missing in {paths.runtime}: until it is restarted, there is no console and no monitor"


async def is_disk_full(monitor: Qmp) -> bool:
    """Whether the guest is paused because a disk could not grow (qapi/block-core.json, BlockDeviceIoStatus)."""
    return any(block.get("io-status") == "nospace" for block in await monitor.execute("query-block"))


def _save(paths: MachinePaths, phase: str, pid: int, accel: str | None) -> None:
    ticks = start_ticks(pid)
    if ticks is not None:  # None: the process has ended, and there is nothing to record
        json_file.write(run_file(paths), asdict(RunRecord(phase, pid, ticks, _boot_id(), accel, str(paths.runtime))))


def _load(path: Path) -> RunRecord | None:
    run = json_file.read_or(path, lambda found: RunRecord(**found), None)  # None if absent or damaged
    return run if run is not None and isinstance(run.pid, int) and run.pid > 0 else None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
