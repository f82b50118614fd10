"""Encoding off the event loop, once for all who want the same. Band: shell.

A few threads do the work (libjpeg-turbo and numpy let go of the interpreter lock meanwhile). Results are kept for a
while, up to a number of bytes, under a key that says everything they depend on: a viewer that comes later, or a slower
one, finds them ready. What a key means is its maker's business.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple


class Made(NamedTuple):
    """A message that holds a picture; `fine` if nobody could tell that from the pixels it was made of."""

    message: bytes
    fine: bool


class Encodes:
    """Shared results of `work` functions, by key."""

    def __init__(self, *, threads: int = 2, keep_bytes: int = 16 << 20) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pommel-encode")
        self._keep_bytes = keep_bytes
        self._kept = 0
        self._closed = False
        self._results: OrderedDict[Hashable, asyncio.Future[Made]] = OrderedDict()

    def start(self, key: Hashable, work: Callable[[], Made], *, at_once: bool = False) -> asyncio.Future[Made]:
        """Return the result for `key`, ready or in the making. Shield it: it is not the caller's alone.

        Work that is to be done `at_once` is so little that a thread would only delay it.
        """
        found = self._results.get(key)
        if found is not None:
            self._results.move_to_end(key)
            return found
        if self._closed:
            return _cancelled()
        future = _now(work) if at_once else asyncio.get_running_loop().run_in_executor(self._pool, work)
        self._results[key] = future
        future.add_done_callback(partial(self._settle, key))
        return future

    def close(self) -> None:
        """Drop what is waiting and forget the rest; who still asks gets a cancelled future."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._results.clear()
        self._kept = 0

    def _settle(self, key: Hashable, future: asyncio.Future[Made]) -> None:
        if self._results.get(key) is not future:
            if not future.cancelled():
                future.exception()  # nobody is left to ask
            return
        if future.cancelled() or future.exception() is not None:
            del self._results[key]
            return
        self._kept += len(future.result().message)
        self._evict()

    def _evict(self) -> None:
        while self._kept > self._keep_bytes:
            key, oldest = next(iter(self._results.items()))
            if not oldest.done():
                return
            self._kept -= len(oldest.result().message)
            del self._results[key]


def _now(work: Callable[[], Made]) -> asyncio.Future[Made]:
    future: asyncio.Future[Made] = asyncio.get_running_loop().create_future()
    try:
        future.set_result(work())
    except Exception as failure:
        future.set_exception(failure)
    return future


def _cancelled() -> asyncio.Future[Made]:
    future: asyncio.Future[Made] = asyncio.get_running_loop().create_future()
    future.cancel()
    return future
