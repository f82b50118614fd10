"""A golden machine's saved memory, from which its clones continue without a boot. Band: shell.

    memory/ram           the guest's RAM, as QEMU maps it
    memory/state         QEMU's devices: a migration stream without RAM
    memory/memory.json   the command line and the disks at that time; written last

The disks stay unchanged from that moment, because the machine is golden. The record identifies each disk's file, so
that a later write to one is detected.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pommel import json_file, private
from pommel.errors import BuildError, DeadlineError, MachineError
from pommel.machine import own_disks, qmp
from pommel.machine.qmp import Qmp
from pommel.paths import MachinePaths

FOLDER, _RAM, _STATE, _RECORD, _SOCKET = "memory", "ram", "state", "memory.json", "memory.sock"
_CHUNK = 1 << 20
_STATE_MOST = 1 << 30
_QMP_S = 30.0
_MOVE_S = 300.0
_POLL_S = 0.02
_IGNORE_SHARED: dict[str, object] = {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """The facts of saved memory: its time (seconds since 1970), the QEMU, the command line, and the disks."""

    created_s: float
    qemu: str
    command_line: tuple[str, ...]
    disks: tuple[str, ...]


def folder(paths: MachinePaths) -> Path:
    """The folder of the machine's saved memory."""
    return paths.directory / FOLDER


def ram(paths: MachinePaths) -> Path:
    """The file with the guest's RAM."""
    return folder(paths) / _RAM


def read(paths: MachinePaths) -> MemoryRecord | None:
    """The facts of the machine's saved memory; None: there is none, or it is incomplete."""

    def made(told: dict[str, object]) -> MemoryRecord:
        saved = MemoryRecord(**told)  # type: ignore[arg-type]
        return MemoryRecord(float(saved.created_s), saved.qemu, tuple(saved.command_line), tuple(saved.disks))

    return json_file.read_or(folder(paths) / _RECORD, made, None)


def begin(paths: MachinePaths) -> None:
    """Prepare the folder for memory to be saved; older memory is removed."""
    forget(paths)
    private.make_folder(folder(paths))


def forget(paths: MachinePaths) -> None:
    """Remove the machine's saved memory."""
    # The record first: without it, a partly removed folder does not count as saved memory.
    (folder(paths) / _RECORD).unlink(missing_ok=True)
    shutil.rmtree(folder(paths), ignore_errors=True)


def disks_now(paths: MachinePaths) -> tuple[str, ...]:
    """Name, size and time of each disk, which show whether it was written to since."""
    found = []
    for path in [*own_disks.all_disks(paths), paths.nvram]:
        with contextlib.suppress(FileNotFoundError):
            seen = path.stat()
            found.append(f"{path.name} {seen.st_size} {seen.st_mtime_ns}")
    return tuple(found)


def save(paths: MachinePaths) -> None:
    """Write the state of a running machine whose RAM is the file `ram`, pause the guest, and end its QEMU.

    Raises:
        MachineError, DeadlineError: QEMU cannot save it, and says why.
        BuildError: it cannot be written.
    """
    try:
        qmp.run(qmp.within(paths.qmp, _QMP_S, lambda monitor: _save(paths, monitor)))
    except OSError as failure:
        raise BuildError(f"{folder(paths)} cannot be written: {failure}") from failure


def finish(paths: MachinePaths, qemu: str, command_line: Sequence[str]) -> None:
    """Write the record once QEMU has ended: from now on the saved memory is valid."""
    saved = MemoryRecord(time.time(), qemu, tuple(command_line), disks_now(paths))
    try:
        json_file.write(folder(paths) / _RECORD, asdict(saved))
    except OSError as failure:
        raise BuildError(f"{folder(paths)} cannot be written: {failure}") from failure


def load(paths: MachinePaths, base: MachinePaths) -> None:
    """Let the guest of a QEMU that waits with `-incoming defer` continue from the saved memory of `base`.

    Raises:
        MachineError, DeadlineError: QEMU cannot load it; end it.
    """
    try:
        qmp.run(qmp.within(paths.qmp, _QMP_S, lambda monitor: _load(paths, base, monitor)))
    except OSError as failure:
        raise MachineError(f"the saved memory cannot be loaded: {failure}") from failure


async def _save(paths: MachinePaths, monitor: Qmp) -> None:
    socket = paths.runtime / _SOCKET
    arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _take(reader, folder(paths) / _STATE)
        except (OSError, MachineError) as failure:
            arrived.set_exception(failure)
        else:
            arrived.set_result(None)
        finally:
            writer.close()

    socket.unlink(missing_ok=True)
    async with await asyncio.start_unix_server(take, str(socket), limit=_CHUNK):
        await monitor.execute("stop")
        await monitor.execute("migrate-set-capabilities", _IGNORE_SHARED)
        await monitor.execute("migrate", {"uri": f"unix:{socket}"})
        await _moved(monitor)
        async with asyncio.timeout(_MOVE_S):
            await arrived
    socket.unlink(missing_ok=True)
    await monitor.execute("quit")


async def _take(reader: asyncio.StreamReader, path: Path) -> None:
    total = 0
    with private.written(path) as file:
        while part := await reader.read(_CHUNK):
            total += len(part)
            if total > _STATE_MOST:
                raise MachineError("QEMU sends its RAM with its state: this QEMU cannot leave it out")
            file.write(part)


async def _load(paths: MachinePaths, base: MachinePaths, monitor: Qmp) -> None:
    socket = paths.runtime / _SOCKET
    await monitor.execute("migrate-set-capabilities", _IGNORE_SHARED)
    await monitor.execute("migrate-incoming", {"uri": f"unix:{socket}"})
    _, writer = await asyncio.open_unix_connection(str(socket))
    try:
        with (folder(base) / _STATE).open("rb") as file:
            while part := file.read(_CHUNK):
                writer.write(part)
                await writer.drain()
    finally:
        writer.close()
    await _moved(monitor)
    socket.unlink(missing_ok=True)
    await monitor.execute("cont")


async def _moved(monitor: Qmp) -> None:
    """Wait until QEMU has sent or loaded everything."""
    until = time.monotonic() + _MOVE_S
    while (told := await monitor.execute("query-migrate")).get("status") != "completed":
        if told.get("status") in ("failed", "cancelled"):
            raise MachineError(f"QEMU cannot move the machine's state: {told.get('error-desc', 'it does not say why')}")
        if time.monotonic() > until:
            raise DeadlineError(f"QEMU had not moved the machine's state after {_MOVE_S:g} s")
        await asyncio.sleep(_POLL_S)
