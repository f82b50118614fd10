"""What a running guest has of its memory, and how it is asked to do with less, over QMP. Band: shell.

A balloon only asks: a guest without a driver for it answers nothing, and one that needs its memory gives less. So what
counts is what QEMU says afterwards, and whether the guest has ever told its own numbers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pommel.errors import MachineError
from pommel.machine.qmp import Qmp

_TELL_S = 1  # how often a guest is to tell its numbers, while it is asked
_POLL_S = 0.25
_STILL_S = 8.0  # a guest that has given nothing for so long has given what it will
_PLACES = ("/machine/peripheral", "/machine/peripheral-anon")


@dataclass(frozen=True, slots=True)
class Balloon:
    """`guest_bytes` is what the guest may use now of `size_bytes`; None: there is no balloon.

    `unused_bytes` is what it says is free; None: it has said nothing, as one without a driver. `reports`: free pages
    are given back without being asked for.
    """

    size_bytes: int
    guest_bytes: int | None
    unused_bytes: int | None = None
    reports: bool = False


async def look(monitor: Qmp, *, patience_s: float = 0.0) -> Balloon:
    """How it stands; with patience, a guest that has a driver tells its numbers meanwhile."""
    sizes = await monitor.execute("query-memory-size-summary")
    total = int(sizes["base-memory"]) + int(sizes.get("plugged-memory", 0))
    device = await _device(monitor)
    if device is None:
        return Balloon(total, None)
    actual = int((await monitor.execute("query-balloon"))["actual"])
    reports = bool(await _get(monitor, device, "free-page-reporting"))
    return Balloon(total, actual, await _unused(monitor, device, patience_s) if patience_s else None, reports)


async def ask_for(monitor: Qmp, size_bytes: int, on_step: Callable[[int], None], *, timeout_s: float) -> int:
    """Ask the guest to do with `size_bytes`; return what it has when it is there, or gives no more."""
    await monitor.execute("balloon", {"value": size_bytes})
    now = begun = last = time.monotonic()
    before = -1
    while True:
        actual = int((await monitor.execute("query-balloon"))["actual"])
        on_step(actual)
        now = time.monotonic()
        if actual != before:
            before, last = actual, now
        if actual == size_bytes or now - last > _STILL_S or now - begun > timeout_s:
            return actual
        await asyncio.sleep(_POLL_S)


async def _device(monitor: Qmp) -> str | None:
    for place in _PLACES:
        for each in await monitor.execute("qom-list", {"path": place}):
            if str(each["type"]).startswith("child<virtio-balloon"):
                return f"{place}/{each['name']}"
    return None


async def _unused(monitor: Qmp, device: str, patience_s: float) -> int | None:
    """What the guest says is free, told since now."""
    began = int((await _get(monitor, device, "guest-stats") or {}).get("last-update", 0))
    await _set(monitor, device, _TELL_S)
    try:
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            await asyncio.sleep(_POLL_S)
            told = await _get(monitor, device, "guest-stats") or {}
            if int(told.get("last-update", 0)) > began:
                free = int(told.get("stats", {}).get("stat-available-memory", -1))
                free = free if 0 <= free < 1 << 60 else int(told["stats"].get("stat-free-memory", -1))
                return free if 0 <= free < 1 << 60 else None  # what a guest does not know it tells as -1
    finally:
        await _set(monitor, device, 0)
    return None


async def _get(monitor: Qmp, device: str, key: str) -> Any:
    try:
        found = await monitor.execute("qom-get", {"path": device, "property": key})
    except MachineError:  # an older QEMU's has it not
        return None
    return found


async def _set(monitor: Qmp, device: str, seconds: int) -> None:
    await monitor.execute("qom-set", {"path": device, "property": "guest-stats-polling-interval", "value": seconds})
