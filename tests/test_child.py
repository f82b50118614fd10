from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pommel.child import Child, running
from pommel.errors import MissingProgram
from waits import until


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_talks_and_complains() -> None:
    async with running(["sh", "-c", "echo oops >&2; cat"]) as child:
        await child.write(b"hello")
        assert await child.read() == b"hello"
        child.close_input()
        assert await child.read() == b""
        assert await child.wait() == 0
        assert child.complaints == "oops"
        assert not child.alive


async def test_a_complaint_has_no_control_characters() -> None:
    """Over ssh it is the guest that says it, and a terminal that is told of it obeys them."""
    async with running(["sh", "-c", r"printf 'a\033[2J\r\nb\n' >&2"]) as child:
        await child.wait()
        assert child.complaints == "a\ufffd[2J\nb"


async def test_a_long_complaint_does_not_hold_it_up() -> None:
    async with running(["sh", "-c", "yes oops | head -c 1000000 >&2; echo done"]) as child:
        assert await asyncio.wait_for(child.read(), 20) == b"done\n"
        assert len(child.complaints) <= 8 << 10


async def test_it_ends_with_the_block_and_all_it_started() -> None:
    async with running(["sh", "-c", "sleep 1000 & echo $!; wait"], grace_s=0.05) as child:
        grandchild = int(await child.read())
        assert alive(grandchild)
    assert not alive(child.pid)
    await until(lambda: not alive(grandchild))


async def test_a_missing_program() -> None:
    with pytest.raises(MissingProgram):
        async with running(["no-such-program"]):
            pass


async def test_whoever_is_cancelled_while_it_ends_still_sees_its_end() -> None:
    met: list[Child] = []

    async def work() -> None:
        async with running(["sh", "-c", "while :; do sleep 0.1; done"], grace_s=30.0) as child:
            met.append(child)

    task = asyncio.ensure_future(work())
    while not met:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # the block has ended, and the grace has begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not met[0].alive
