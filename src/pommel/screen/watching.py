"""Waiting until a condition on a screen holds, picture by picture. Band: shell.

The pictures are those that the page gets, from QEMU's VNC server. Nothing is asked of the guest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import DeadlineError, MachineError
from pommel.screen.conditions import Watch
from pommel.screen.frame import Frame
from pommel.screen.seams import SourceEnded
from pommel.screen.sights import Sight, look_at
from pommel.screen.sources.vnc import connect_vnc

_TICK_S = 0.25
_CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class WatchResult:
    """What the screen shows when the condition holds, and how many seconds that took."""

    sight: Sight
    seconds: float


async def until_holds(
    path: Path, watch: Watch, timeout_s: float, tick: Callable[[float, str], None] = lambda waited_s, told: None
) -> WatchResult:
    """Wait until the condition of `watch` holds for the screen at VNC socket `path`.

    `tick` is called a few times a second with the seconds waited and a description of the last picture.

    Raises:
        DeadlineError: it did not hold within `timeout_s`; the message describes the last picture.
        StateError, MachineError, RfbError: there is no screen, or the connection to it ended.
    """
    began = time.monotonic()
    connection = await connect_vnc(path, timeout_s=min(_CONNECT_S, timeout_s))
    frame: Frame | None = None
    try:
        connection.source.watch(True)
        while True:
            now = time.monotonic()
            if frame is not None and watch.see(now, frame):
                return WatchResult(look_at(frame), now - began)
            if now - began >= timeout_s:
                raise DeadlineError(watch.told)
            tick(now - began, watch.told)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(_TICK_S, began + timeout_s - now)):
                    update = await connection.source.next_update()
                if isinstance(update, SourceEnded):
                    raise MachineError(f"no picture: {update.reason}")
                frame = update.frame
    finally:
        await connection.close()
