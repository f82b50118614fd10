"""Pauses a running machine's vCPUs, and lets them continue. Band: shell.

Its memory stays in the running QEMU; `savestate` puts a machine to sleep without a QEMU.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from pommel import locks
from pommel.errors import StateError
from pommel.machine import qmp, snapshot_store
from pommel.machine.events import Word, note_event
from pommel.machine.permission import must_not_sleep
from pommel.machine.qmp import Qmp
from pommel.machine.runstate import FULL, NO_ROOM, can_power_down, let_go_command, read_status
from pommel.machine.state import is_disk_full
from pommel.paths import MachinePaths

_QMP_S = 5.0
_AGAIN_S = 0.3  # in this time a continued guest tries its write again


def pause(paths: MachinePaths) -> None:
    """Stop the vCPUs of the running machine.

    Raises:
        StateError: it does not run, or is already paused.
        DeadlineError, MachineError: QEMU does not answer, or refuses.
    """
    _must_live(paths)

    async def work(monitor: Qmp) -> None:
        status = await monitor.status()
        if status != "running":
            raise StateError(f"{paths.name} is not running now: {_word(status)}", hint=f"pommel resume {paths.name}")
        await monitor.execute("stop")

    qmp.run(qmp.within(paths.qmp, _QMP_S, work))
    note_event(paths, Word.SUSPENDED, "its vCPUs are stopped")


def resume(paths: MachinePaths) -> None:
    """Let the vCPUs of a paused machine continue, also of one that sleeps, or whose disk was full.

    Raises:
        StateError: it does not exist, it runs, its guest cannot continue, or there is still no space for its disk; or
            falling asleep or waking up was interrupted.
        DeadlineError, MachineError: QEMU does not answer, or refuses.
    """
    _must_live(paths)
    must_not_sleep(paths)
    if snapshot_store.loading(paths) is not None:
        from pommel.machine import snapshot_loading  # here, because few machines need it

        snapshot_loading.let_it_end(paths)
        if qmp.run(qmp.within(paths.qmp, _QMP_S, lambda monitor: monitor.status())) == "running":
            note_event(paths, Word.RESUMED)
            return
    qmp.run(qmp.within(paths.qmp, _QMP_S, lambda monitor: _go_on(monitor, paths.name, paths.directory)))
    note_event(paths, Word.RESUMED)


async def _go_on(monitor: Qmp, name: str, folder: Path) -> None:
    status = await monitor.status()
    command = let_go_command(status)
    if command is None:
        raise StateError(f"{name} is not paused: {_word(status)}")
    if not can_power_down(status) and status != NO_ROOM:
        raise StateError(f"{name} cannot continue: {_word(status)}", hint=f"pommel stop {name}")
    await monitor.execute(command)
    if status != NO_ROOM:
        return
    await asyncio.sleep(_AGAIN_S)
    if await monitor.status() == NO_ROOM:
        full = await is_disk_full(monitor)
        raise StateError(
            f"{name} continued and stopped again: its disk cannot be written",
            hint=FULL.format(name=name, folder=folder) if full else "its storage has errors: see dmesg",
        )


def _must_live(paths: MachinePaths) -> None:
    if locks.holder(paths.pidfile) is None:
        raise StateError(f"{paths.name} is not running", hint=f"pommel start {paths.name}")


def _word(status: str) -> str:
    return read_status(status)[1] or f"QEMU says: {status}"
