"""A QEMU without a guest, which has the disks of a stopped machine open for a backup. Band: shell.

The same QEMU and the same commands as for a running machine, so that there is one way to make a backup, and the disks
remember what changes after it. It ends with us, however we end.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import process
from pommel.errors import DeadlineError, MachineError, PommelError
from pommel.machine import qmp
from pommel.machine.qmp import Qmp
from pommel.paths import MachinePaths

_START_S = 60.0
_END_S = 600.0
_QMP_S = 120.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Opened:
    """A disk to be opened: its file, its format, whether nothing may be written to it, bitmaps neither."""

    path: Path
    format: str
    read_only: bool


@contextlib.contextmanager
def engine(paths: MachinePaths, qemu: str, disks: Sequence[Opened]) -> Iterator[Path]:
    """Start it; yields its monitor's socket. The disks' drives are called as `node` says. Hold the machine's lock.

    Raises:
        MachineError: it does not start, or a disk cannot be opened: another program has it, say.
    """
    paths.make_runtime()
    for left in (*paths.runtime.glob("b[0-9]*.sock"), *paths.runtime.glob("b[0-9]*.log")):
        left.unlink(missing_ok=True)
    # Of this process alone: the QEMU of one that was killed as it began may be about to make its own.
    socket, log = paths.runtime / f"b{os.getpid()}.sock", paths.runtime / f"b{os.getpid()}.log"
    words = [qemu, "-machine", "none", "-nodefaults", "-display", "none", "-S"]
    child = process.spawn_detached([*words, "-qmp", f"unix:{socket},server=on,wait=off"], log, ends_with_us=True)
    try:
        _await(child, socket, log)
        qmp.run(qmp.within(socket, _QMP_S, lambda monitor: _open(monitor, disks)))
        try:
            yield socket
        finally:
            _end(child, socket)  # of a failure too: the disks' bitmaps are written as it ends
    finally:
        if child.exit_status() is None:
            child.kill()
        for left in (socket, log):
            left.unlink(missing_ok=True)


def node(number: int) -> str:
    """What the drive of the disk `number` is called."""
    return f"pommel-disk-{number}"


async def _open(monitor: Qmp, disks: Sequence[Opened]) -> None:
    for number, each in enumerate(disks):
        file = {"driver": "host_device" if each.path.is_block_device() else "file", "filename": str(each.path)}
        told = {"driver": each.format, "node-name": node(number), "read-only": each.read_only, "file": file}
        try:
            await monitor.execute("blockdev-add", dict(told))
        except MachineError as refusal:
            raise MachineError(f"{each.path} cannot be opened: {refusal.message}") from refusal


async def _quit(monitor: Qmp) -> None:
    await monitor.execute("quit")


def _end(child: process.Detached, socket: Path) -> None:
    with contextlib.suppress(PommelError):
        qmp.run(qmp.within(socket, _QMP_S, _quit))
    deadline = time.monotonic() + _END_S
    while child.exit_status() is None and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _await(child: process.Detached, socket: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not socket.exists():
        if child.exit_status() is not None:
            said = log.read_text(errors="replace").strip() if log.exists() else ""
            raise MachineError(f"QEMU for the backup did not start: {said or 'it printed nothing'}")
        if time.monotonic() > deadline:
            raise DeadlineError("QEMU for the backup did not answer in time")
        time.sleep(_POLL_S)
