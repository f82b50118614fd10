"""Tasks of asyncio: who is ended by whom, and what becomes of failures."""

from __future__ import annotations

import asyncio

import pytest

from pommel.tasks import background, first_of, start_task, stop_tasks, together


class Work:
    """Waits until it is told to go on; tells how it ended."""

    def __init__(self) -> None:
        self.go, self.ended = asyncio.Event(), ""

    async def run(self, failure: Exception | None = None) -> str:
        try:
            await self.go.wait()
            if failure is not None:
                raise failure
            self.ended = "by itself"
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # an end takes a moment, and is waited for
            self.ended = "cancelled"
            raise
        return self.ended


async def test_the_first_to_end_ends_the_others_and_all_are_waited_for() -> None:
    one, two = Work(), Work()
    two.go.set()
    race = await first_of(one.run(), two.run())
    assert race.first.result() == "by itself"
    assert (one.ended, two.ended) == ("cancelled", "by itself")
    assert isinstance(race.ended[0], asyncio.CancelledError) and race.ended[1] == "by itself"


async def test_a_failure_is_the_callers_to_raise() -> None:
    one, two = Work(), Work()
    one.go.set()
    race = await first_of(one.run(ValueError("no")), two.run())
    assert two.ended == "cancelled"
    with pytest.raises(ValueError, match="no"):
        race.first.result()


async def test_of_several_that_end_at_once_the_one_named_first_counts() -> None:
    one, two = Work(), Work()
    one.go.set()
    two.go.set()
    assert (await first_of(one.run(), two.run())).first.result() == "by itself"
    assert (one.ended, two.ended) == ("by itself", "by itself")


async def test_who_waits_is_cancelled_and_leaves_nothing_running() -> None:
    one, two = Work(), Work()
    waiting = start_task(first_of(one.run(), two.run()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (came,) = await stop_tasks(waiting)
    assert isinstance(came, asyncio.CancelledError)
    assert (one.ended, two.ended) == ("cancelled", "cancelled")


async def test_in_the_background_for_the_time_of_a_block() -> None:
    one, two = Work(), Work()
    two.go.set()
    with pytest.raises(KeyError):
        async with background(one.run(), two.run(ValueError("not the block's"))) as (_, failed):
            await asyncio.wait([failed])
            raise KeyError("the block's own")
    assert one.ended == "cancelled" and isinstance(failed.exception(), ValueError)


async def test_what_fails_first_ends_all_and_comes_out_as_it_is() -> None:
    one, two = Work(), Work()
    two.go.set()
    with pytest.raises(ValueError, match="the first"):
        async with together() as tasks:
            tasks.create_task(one.run())
            tasks.create_task(two.run(ValueError("the first")))
    assert one.ended == "cancelled"
    inner = Work()
    with pytest.raises(KeyError):
        async with together() as outer, together() as tasks:
            outer.create_task(inner.run())
            tasks.create_task(one.run())
            raise KeyError("the block's own")
    assert (one.ended, inner.ended) == ("cancelled", "cancelled")


async def test_together_until_all_have_ended() -> None:
    one, two = Work(), Work()
    one.go.set()
    two.go.set()
    async with together() as tasks:
        tasks.create_task(one.run())
        tasks.create_task(two.run())
    assert (one.ended, two.ended) == ("by itself", "by itself")
