"""Reads a running guest's memory use and asks it to use less, over QMP. Band: shell.

A balloon is only a request: a guest without a driver does not react, and a guest that needs its memory gives less. So
the results are what QEMU reports afterwards, and whether the guest has ever reported its statistics.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pommel.errors import MachineError
from pommel.machine.qmp import Qmp

_TELL_S = 1  # seconds between the guest's reports, while they are needed
_POLL_S = 0.25
_STILL_S = 8.0  # a guest that has given no memory for this time gives no more
_PLACES = ("/machine/peripheral", "/machine/peripheral-anon")


@dataclass(frozen=True, slots=True)
class Balloon:
    """`guest_bytes` is the part of `size_bytes` that the guest may use now; None: there is no balloon.

    `unused_bytes` is the guest's free memory; None: it has reported nothing, for example without a driver. `reports`:
    free pages are given back without a request.
    """

    size_bytes: int
    guest_bytes: int | None
    unused_bytes: int | None = None
    reports: bool = False


async def look(monitor: Qmp, *, patience_s: float = 0.0) -> Balloon:
    """The present state; with `patience_s`, it waits for the statistics of a guest with a driver."""
    sizes = await monitor.execute("query-memory-size-summary")
    total = int(sizes["base-memory"]) + int(sizes.get("plugged-memory", 0))
    device = await _device(monitor)
    if device is None:
        return Balloon(total, None)
    actual = int((await monitor.execute("query-balloon"))["actual"])
    reports = bool(await _get(monitor, device, "free-page-reporting"))
    return Balloon(total, actual, await _unused(monitor, device, patience_s) if patience_s else None, reports)


async def ask_for(monitor: Qmp, size_bytes: int, on_step: Callable[[int], None], *, timeout_s: float) -> int:
    """Ask the guest to use only `size_bytes`; return its size when it is reached, or when the guest gives no more."""
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
    """The guest's free memory, from a report made after this call."""
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
                return free if 0 <= free < 1 << 60 else None  # the guest reports -1 for a value that it does not know
    finally:
        await _set(monitor, device, 0)
    return None


async def _get(monitor: Qmp, device: str, key: str) -> Any:
    try:
        found = await monitor.execute("qom-get", {"path": device, "property": key})
    except MachineError:  # an older QEMU does not have the property
        return None
    return found


async def _set(monitor: Qmp, device: str, seconds: int) -> None:
    await monitor.execute("qom-set", {"path": device, "property": "guest-stats-polling-interval", "value": seconds})
