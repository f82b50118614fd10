from __future__ import annotations

import asyncio

import pytest

from pommel.clipboard.content import text_of
from pommel.clipboard.engine import Side, Write
from pommel.clipboard.slot import Slot


def write(token: int) -> Write:
    return Write(Side.GUEST, text_of(str(token)), token, 0)


async def test_the_newest_is_what_is_taken() -> None:
    slot = Slot()
    slot.put(write(1))
    slot.put(write(2))
    taken, since = await slot.take()
    assert taken.token == 2 and slot.since(2) == since and slot.since(2) is None
    waiting = asyncio.ensure_future(slot.take())
    await asyncio.sleep(0)
    slot.put(write(3))
    assert (await waiting)[0].token == 3


async def test_work_goes_on_unless_something_newer_comes() -> None:
    slot = Slot()
    slot.put(write(1))
    await slot.take()
    ended: list[str] = []

    async def work(seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        finally:
            ended.append("work")
        return "done"

    assert await slot.unless_newer(work(0)) == "done"
    working = asyncio.ensure_future(slot.unless_newer(work(1000)))
    await asyncio.sleep(0.01)
    slot.put(write(2))
    assert await working is None and ended == ["work", "work"]
    assert (await slot.take())[0].token == 2


async def test_its_failure_and_our_own_end_are_passed_on() -> None:
    slot, left = Slot(), asyncio.Event()

    async def fails() -> None:
        raise OSError("no")

    async def lasts() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            left.set()

    with pytest.raises(OSError, match="no"):
        await slot.unless_newer(fails())
    working = asyncio.ensure_future(slot.unless_newer(lasts()))
    await asyncio.sleep(0.01)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert left.is_set()
