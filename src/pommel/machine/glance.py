"""One look at a running machine by QMP: its state, its picture, and whether its guest uses the pointer. Band: shell.

It does not use VNC: a VNC client that disconnects makes QEMU release the keys that others hold (ui/vnc.c).
"""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel.errors import MachineError
from pommel.machine import qmp
from pommel.machine.qmp import Qmp
from pommel.paths import MachinePaths

_USB_POINTER = "QEMU HID"  # hw/input/hid.c: "QEMU HID Tablet", "QEMU HID Mouse"
_serial = itertools.count()


@dataclass(frozen=True, slots=True)
class Glance:
    """The result. `status` is QEMU's word (qapi/run-state.json); `picture` is a PPM file, None without a display.

    `driven`: whether a system in the guest reads the USB pointer; None: there is no pointer. QEMU makes a pointer the
    current one when its guest first reads it (hw/input/hid.c, hid_pointer_activate). Firmware and boot pickers do not.
    """

    status: str
    driven: bool | None
    picture: bytes | None


async def glance(paths: MachinePaths, *, timeout_s: float = 10.0) -> Glance:
    """Look once.

    Raises:
        StateError, MachineError, DeadlineError: QEMU cannot be asked, or ends.
    """

    async def look(monitor: Qmp) -> Glance:
        status, mice = await monitor.status(), await monitor.execute("query-mice")
        return Glance(status, _driven(mice), await picture(monitor, paths))

    return await qmp.within(paths.qmp, timeout_s, look)


async def picture(monitor: Qmp, paths: MachinePaths) -> bytes | None:
    """The screen's picture as a PPM file; None: QEMU has no display, or there is no space for the file."""
    file = _file(paths)
    try:
        await monitor.execute("screendump", {"filename": str(file)})
        return file.read_bytes()
    except (MachineError, OSError):
        return None
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


def _file(paths: MachinePaths) -> Path:
    return paths.runtime / f"look-{os.getpid()}-{next(_serial)}.ppm"


def _driven(mice: list[dict[str, Any]]) -> bool | None:
    pointers = [mouse for mouse in mice if str(mouse.get("name", "")).startswith(_USB_POINTER)]
    return any(mouse.get("current") for mouse in pointers) if pointers else None
