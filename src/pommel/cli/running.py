"""The common part of commands that serve until a signal. Band: face.

Nothing here imports code for machines: a guest's daemon and agent use this module too, and must start quickly.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
import webbrowser
from typing import Any

from pommel.tasks import start_task


def open_browser(url: str) -> None:
    """Open the page in a browser; without a desktop, do nothing."""
    from pommel.config import environment

    env = environment()
    if sys.platform == "darwin" or env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"):
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(url)


async def until_signal(serving: Any) -> str:
    """Run `serving` to its end, or until SIGINT or SIGTERM; return its reason, or "" for a signal."""
    gc.freeze()  # imported modules stay anyway; a full collection of them would block the loop for 20 ms
    loop = asyncio.get_running_loop()
    task = start_task(serving)
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sign, task.cancel)
    try:
        return str(await task)
    except asyncio.CancelledError:
        return ""
