from __future__ import annotations

import asyncio
import threading

import pytest

from pommel.screen.encodes import EncodedPicture, Encodes

MADE = EncodedPicture(b"made", True)


async def test_one_piece_of_work_for_all_who_ask_off_the_event_loop() -> None:
    encodes, where = Encodes(), []
    gate = threading.Event()

    def work() -> EncodedPicture:
        where.append(threading.current_thread())
        gate.wait(5)
        return MADE

    asked = [encodes.start("key", work) for _ in range(5)]
    gate.set()
    assert await asyncio.gather(*map(asyncio.shield, asked)) == [MADE] * 5
    assert await encodes.start("key", work) == MADE
    assert len(where) == 1 and where[0] is not threading.main_thread()
    encodes.close()


async def test_who_stops_waiting_takes_nothing_from_the_others() -> None:
    encodes, gate = Encodes(), threading.Event()

    def work() -> EncodedPicture:
        gate.wait(5)
        return MADE

    async def ask() -> EncodedPicture:
        return await asyncio.shield(encodes.start("key", work))

    async with asyncio.TaskGroup() as tasks:
        gives_up, stays = tasks.create_task(ask()), tasks.create_task(ask())
        await asyncio.sleep(0)
        gives_up.cancel()
        await asyncio.sleep(0)
        gate.set()
    assert stays.result() == MADE and gives_up.cancelled()
    encodes.close()


async def test_a_failure_is_told_and_not_kept() -> None:
    encodes = Encodes()

    def fail() -> EncodedPicture:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await encodes.start("key", fail)
    await asyncio.sleep(0)
    assert await encodes.start("key", lambda: MADE) == MADE
    encodes.close()


async def test_results_are_kept_up_to_a_number_of_bytes_and_the_oldest_go() -> None:
    encodes, made = Encodes(keep_bytes=250), []

    async def ask(key: int) -> None:
        await asyncio.shield(encodes.start(key, lambda: made.append(key) or EncodedPicture(bytes(100), True)))
        await asyncio.sleep(0)

    for key in (1, 2, 1, 3, 1, 2):
        await ask(key)
    assert made == [1, 2, 3, 2]
    encodes.close()


async def test_after_the_end_nothing_is_begun() -> None:
    encodes = Encodes()
    encodes.close()
    assert encodes.start("key", lambda: MADE).cancelled()


async def test_little_work_is_done_at_once_and_shared_all_the_same() -> None:
    encodes, where = Encodes(), []

    def work() -> EncodedPicture:
        where.append(threading.current_thread())
        return MADE

    assert encodes.start("key", work, at_once=True).result() == MADE
    assert encodes.start("key", work).result() == MADE
    assert where == [threading.main_thread()]

    def fail() -> EncodedPicture:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await encodes.start("other", fail, at_once=True)
    encodes.close()
