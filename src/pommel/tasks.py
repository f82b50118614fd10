"""Tasks of asyncio that no TaskGroup holds: started, ended and raced in one place.

A TaskGroup fits where every part has to succeed. Here is what it does not fit: a task that lives as long as an object
or a block, and several of which the first to end ends the others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

__all__ = ["Race", "background", "first_of", "start_task", "stop_tasks"]


@dataclass(frozen=True, slots=True)
class Race:
    """What came of `first_of`.

    `first` is the task that ended first. `ended` has the result or the exception of each, in the order given; of one
    that was cancelled that is a CancelledError.
    """

    first: asyncio.Task[Any]
    ended: tuple[Any, ...]


def start_task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task that its owner keeps, and awaits or ends with `stop_tasks`: asyncio itself holds it only weakly."""
    return asyncio.create_task(work)  # noqa: TID251 - this is the place


async def stop_tasks(*tasks: asyncio.Task[Any]) -> list[Any]:
    """Cancel the tasks and wait for their end; return the result or the exception of each, in the order given."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def background(*works: Coroutine[Any, Any, Any]) -> AsyncIterator[tuple[asyncio.Task[Any], ...]]:
    """Run tasks for the time of the block. Their failures end nothing: the block looks at the tasks if it cares."""
    tasks = tuple(start_task(work) for work in works)
    try:
        yield tasks
    finally:
        await stop_tasks(*tasks)


async def first_of(*works: Coroutine[Any, Any, Any]) -> Race:
    """Run several until the first ends, whether with a result or an exception; cancel the others and wait for them.

    Nothing is raised for their failures: `Race.first.result()` raises the first one's. Of several that end in the same
    turn of the loop, the one that is named first counts.
    """
    tasks = [start_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = await stop_tasks(*tasks)
    return Race(next(task for task in tasks if task in done), tuple(ended))
