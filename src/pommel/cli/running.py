"""What commands that serve until they are told to end have in common. Band: face.

Nothing here leans on a machine: a guest's own daemon and agent begin here too, and are to begin quickly.
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
    """Open the page on a desktop; where there is none, nothing happens."""
    from pommel.config import environment

    env = environment()
    if sys.platform == "darwin" or env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"):
        with contextlib.suppress(webbrowser.Error):
            webbrowser.open(url)


async def until_signal(serving: Any) -> str:
    """Run `serving` to its end, or until SIGINT or SIGTERM; return its reason, or "" for a signal."""
    gc.freeze()  # what is imported stays; a full collection of it would hold the loop up for 20 ms
    loop = asyncio.get_running_loop()
    task = start_task(serving)
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sign, task.cancel)
    try:
        return str(await task)
    except asyncio.CancelledError:
        return ""
