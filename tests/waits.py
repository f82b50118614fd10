"""Waiting until something is so: by looking again and again, for longer on a busy host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from isolation import patient

_USUAL_S, _SOON_S, _LATER = 0.1, 0.01, 1.3  # a pause, the first one, and by how much longer each next one is


def wait_until(true: Callable[[], Any], timeout_s: float = 20.0, every_s: float = _USUAL_S, what: str = "it") -> Any:
    """Look until `true()` says something true; return that. At first it looks more often than ten times a second.

    A larger `every_s` is for a look that costs what is waited for the processor.
    """
    limit_s = patient(timeout_s)
    deadline = time.monotonic() + limit_s
    pause_s = every_s if every_s > _USUAL_S else min(_SOON_S, every_s)
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what}: not in {limit_s:.0f} s"
        time.sleep(pause_s)
        pause_s = min(every_s, pause_s * _LATER)
    return found


async def until(true: Callable[[], Any], timeout_s: float = 30.0, every_s: float = 0.005, what: str = "it") -> Any:
    """As `wait_until`, while the loop goes on."""
    limit_s = patient(timeout_s)
    deadline = time.monotonic() + limit_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"{what}: not in {limit_s:.0f} s"
        await asyncio.sleep(every_s)
    return found
