"""Runs blocking work in a thread for coroutines, and ends it soon when its caller is cancelled. Band: shell.

Long work calls its `Report` often; that is where a cancelled one stops. So whatever takes a `Report` can be cancelled.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from pommel.progress import Progress, Report

T = TypeVar("T")


class WorkCancelled(BaseException):
    """Ends work whose caller was cancelled.

    It is caught in this module; it is no Exception, so that no code swallows it.
    """


async def in_thread(call: Callable[[], T], stop: Callable[[], None] = lambda: None) -> T:
    """Run `call` in a thread and be done only when it is: a cancelled download must not close files under a writer.

    When this is cancelled, `stop` is called before the wait.
    """
    future = asyncio.get_running_loop().run_in_executor(None, call)
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([future])
        future.exception()  # read once, or asyncio reports it as never retrieved
        raise
    return future.result()


async def in_thread_with_report(call: Callable[[Report], T], report: Report) -> T:
    """Run `call` in a thread with a `Report` that reaches `report` in the loop's own thread, events in order.

    When this is cancelled, the next report that `call` makes ends it.
    """
    loop, stopping = asyncio.get_running_loop(), threading.Event()

    def relay(event: Progress) -> None:
        if stopping.is_set():
            raise WorkCancelled
        loop.call_soon_threadsafe(report, event)

    return await in_thread(lambda: call(relay), stopping.set)
