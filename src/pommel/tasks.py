"""Tasks of asyncio: started, ended and raced in one place.

Use `together` if every part must succeed. The rest is for the cases that a TaskGroup does not cover: a task that lives
as long as an object or a block, and several tasks of which the first to end ends the others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

__all__ = ["Race", "background", "first_of", "start_task", "stop_tasks", "together"]


@dataclass(frozen=True, slots=True)
class Race:
    """The result of `first_of`.

    `first` is the task that ended first. `ended` has the result or the exception of each, in the given order;
    for a cancelled one it is a CancelledError.
    """

    first: asyncio.Task[Any]
    ended: tuple[Any, ...]


def start_task(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task. Keep it, and await it or end it with `stop_tasks`: asyncio itself has only a weak reference."""
    return asyncio.create_task(work)  # noqa: TID251 - this is the place


async def stop_tasks(*tasks: asyncio.Task[Any]) -> list[Any]:
    """Cancel the tasks and wait for their end; return the result or the exception of each, in the given order."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def together() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup for the time of the block; the first failure is raised itself, and not in an ExceptionGroup."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as several:
        failure: BaseException = several
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        raise failure from None


@contextlib.asynccontextmanager
async def background(*works: Coroutine[Any, Any, Any]) -> AsyncIterator[tuple[asyncio.Task[Any], ...]]:
    """Run tasks for the time of the block. Their failures do not end the block; it can look at the tasks itself."""
    tasks = tuple(start_task(work) for work in works)
    try:
        yield tasks
    finally:
        await stop_tasks(*tasks)


async def first_of(*works: Coroutine[Any, Any, Any]) -> Race:
    """Run several until the first ends, with a result or an exception; cancel the others and wait for them.

    Their failures are not raised here: `Race.first.result()` raises the first one's. If several end in the same turn of
    the loop, the first of the arguments counts.
    """
    tasks = [start_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = await stop_tasks(*tasks)
    return Race(next(task for task in tasks if task in done), tuple(ended))
