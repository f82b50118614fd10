"""Encodes pictures outside the event loop, and only once for all viewers who want the same. Band: shell.

A few threads do the work (libjpeg-turbo and numpy release the interpreter lock meanwhile). Results are kept for a
while, up to a number of bytes, under a key that contains everything they depend on. So a later or slower viewer finds
them ready. Only the caller knows what a key means.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple


class EncodedPicture(NamedTuple):
    """A message with a picture. `fine`: it cannot be distinguished from the original pixels."""

    message: bytes
    fine: bool


class Encodes:
    """Shared results of `work` functions, by key."""

    def __init__(self, *, threads: int = 2, keep_bytes: int = 16 << 20) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pommel-encode")
        self._keep_bytes = keep_bytes
        self._kept = 0
        self._closed = False
        self._results: OrderedDict[Hashable, asyncio.Future[EncodedPicture]] = OrderedDict()

    def find(self, key: Hashable) -> asyncio.Future[EncodedPicture] | None:
        """Return what `start` would without any work: None if that is needed."""
        found = self._results.get(key)
        if found is not None:
            self._results.move_to_end(key)
        return found

    def start(
        self, key: Hashable, work: Callable[[], EncodedPicture], *, at_once: bool = False
    ) -> asyncio.Future[EncodedPicture]:
        """The result for `key`, ready or in progress. The caller must shield it, because others may wait for it too.

        With `at_once`, the work is so small that it is done here; a thread would only delay it.
        """
        if (found := self.find(key)) is not None:
            return found
        if self._closed:
            return _cancelled()
        future = _now(work) if at_once else asyncio.get_running_loop().run_in_executor(self._pool, work)
        self._results[key] = future
        future.add_done_callback(partial(self._settle, key))
        return future

    def close(self) -> None:
        """Cancel waiting work and forget all results; later callers get a cancelled future."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._results.clear()
        self._kept = 0

    def _settle(self, key: Hashable, future: asyncio.Future[EncodedPicture]) -> None:
        if self._results.get(key) is not future:
            if not future.cancelled():
                future.exception()  # read it, because nobody else will, and asyncio would log it
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


def _now(work: Callable[[], EncodedPicture]) -> asyncio.Future[EncodedPicture]:
    future: asyncio.Future[EncodedPicture] = asyncio.get_running_loop().create_future()
    try:
        future.set_result(work())
    except Exception as failure:
        future.set_exception(failure)
    return future


def _cancelled() -> asyncio.Future[EncodedPicture]:
    future: asyncio.Future[EncodedPicture] = asyncio.get_running_loop().create_future()
    future.cancel()
    return future
