"""Waiting until something is so: by looking again and again, for longer on a busy host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from isolation import patient


def wait_until(true: Callable[[], Any], timeout_s: float = 20.0, every_s: float = 0.1, what: str = "it") -> Any:
    """Look until `true()` says something true; return that."""
    limit_s = patient(timeout_s)
    deadline = time.monotonic() + limit_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what}: not in {limit_s:.0f} s"
        time.sleep(every_s)
    return found


async def until(true: Callable[[], Any], timeout_s: float = 30.0, every_s: float = 0.005, what: str = "it") -> Any:
    """As `wait_until`, while the loop goes on."""
    limit_s = patient(timeout_s)
    deadline = time.monotonic() + limit_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what}: not in {limit_s:.0f} s"
        await asyncio.sleep(every_s)
    return found
