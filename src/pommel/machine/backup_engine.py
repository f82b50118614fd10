"""A QEMU without a guest, which opens the disks of a stopped machine for a backup. Band: shell.

It uses the same QEMU and the same commands as for a running machine, so that there is one way to make a backup, and
the disks record the changes after it. It ends with our process, even if our process is killed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import process, sockets
from pommel.errors import DeadlineError, MachineError, PommelError
from pommel.machine import qmp
from pommel.machine.qmp import Qmp
from pommel.paths import MachinePaths

_START_S = 60.0
_END_S = 600.0
_QMP_S = 120.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class OpenedDisk:
    """A disk to open: its file, its format, and whether it is read-only; then bitmaps cannot be written either."""

    path: Path
    format: str
    read_only: bool


@contextlib.contextmanager
def engine(paths: MachinePaths, qemu: str, disks: Sequence[OpenedDisk]) -> Iterator[Path]:
    """Start it; yields its monitor's socket. `node` gives the names of the disks' drives. Hold the machine's lock.

    Raises:
        MachineError: it does not start, or a disk cannot be opened, for example because another program uses it.
    """
    paths.make_runtime()
    for left in (*paths.runtime.glob("b[0-9]*.sock"), *paths.runtime.glob("b[0-9]*.log")):
        left.unlink(missing_ok=True)
    # The names contain our process id: a QEMU of a process that was killed at its start may still create its own
    # socket.
    socket, log = paths.runtime / f"b{os.getpid()}.sock", paths.runtime / f"b{os.getpid()}.log"
    words = [qemu, "-machine", "none", "-nodefaults", "-display", "none", "-S"]
    child = process.spawn_detached([*words, "-qmp", f"unix:{socket},server=on,wait=off"], log, ends_with_us=True)
    try:
        _await(child, socket, log)
        qmp.run(qmp.within(socket, _QMP_S, lambda monitor: _open(monitor, disks)))
        try:
            yield socket
        finally:
            _end(child, socket)  # after an error too: QEMU writes the disks' bitmaps when it ends
    finally:
        if child.exit_status() is None:
            child.kill()
        for left in (socket, log):
            left.unlink(missing_ok=True)


def node(number: int) -> str:
    """The name of the drive of the disk `number`."""
    return f"pommel-disk-{number}"


async def _open(monitor: Qmp, disks: Sequence[OpenedDisk]) -> None:
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
    while not sockets.listens(socket):
        if child.exit_status() is not None:
            said = log.read_text(errors="replace").strip() if log.exists() else ""
            raise MachineError(f"QEMU for the backup did not start: {said or 'it printed nothing'}")
        if time.monotonic() > deadline:
            raise DeadlineError("QEMU for the backup did not answer in time")
        time.sleep(_POLL_S)
