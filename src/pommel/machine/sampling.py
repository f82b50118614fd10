"""Samples a running machine at intervals: its vCPUs' registers, its writes, its picture. Band: shell.

It changes nothing in the guest. Between two samples the monitor is free for others. `stuck` interprets the samples.
means, `stuck` says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pommel import locks
from pommel.errors import StateError
from pommel.machine import qmp
from pommel.machine.qmp import Qmp
from pommel.machine.stuck import FEWEST, MachineSample, parse_registers
from pommel.machine.usage import thread_cpu_s
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore

_QMP_S = 10.0


def sample(
    paths: MachinePaths,
    *,
    seconds: float = 20.0,
    every_s: float = 1.0,
    screen: Callable[[], str | None] | None = None,
    report: Report = ignore,
) -> list[MachineSample]:
    """Sample the machine for `seconds`; `screen` returns a hash of its present picture, or None.

    Raises:
        StateError: it does not run.
        DeadlineError, MachineError: QEMU does not answer, or ends meanwhile.
    """
    if (pid := locks.holder(paths.pidfile)) is None:
        raise StateError(f"{paths.name} is not running", hint=f"pommel start {paths.name}")
    began = time.monotonic()
    found: list[MachineSample] = []
    while len(found) < FEWEST or time.monotonic() - began < seconds:
        report(Progress("sample", f"watching {paths.name}", time.monotonic() - began, seconds, "s"))
        shown = screen() if screen is not None else None
        found.append(qmp.run(qmp.within(paths.qmp, _QMP_S, partial(_look, pid=pid, screen=shown))))
        time.sleep(min(every_s, max(seconds / FEWEST, began + seconds - time.monotonic())))
    report(Progress("sample", f"watched {paths.name}", seconds, seconds, "s", finished=True))
    return found


async def _look(monitor: Qmp, *, pid: int, screen: str | None) -> MachineSample:
    threads = [int(cpu["thread-id"]) for cpu in await monitor.execute("query-cpus-fast")]
    registers = await monitor.execute("human-monitor-command", {"command-line": "info registers -a"})
    stats = await monitor.execute("query-blockstats")
    return MachineSample(
        at_s=time.monotonic(),
        status=await monitor.status(),
        vcpus=parse_registers(str(registers)),
        written_bytes=sum(_written(device) for device in stats),
        cpu_s=thread_cpu_s(pid, threads),
        screen=screen,
    )


def _written(device: dict[str, Any]) -> int:
    return int(device["stats"]["wr_bytes"])
