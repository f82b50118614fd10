"""Copies made on both sides at each step of the protocol: whatever comes between what, both sides end with the same.

The real guest.sh in a real shell with real xclips and X servers. Its pbcopy and pbpaste wait at gates, before and after
their work, until the test lets them go on; so a step lasts for as long as a test wants it to.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pommel.clipboard.content import FORMS, text_of
from pommel.clipboard.engine import Side
from pommel.clipboard.host import Desktop, HostClipboard, host_clipboard
from pommel.clipboard.sync import Settings, Sync
from waits import until

from .conftest import programs, syncing, x_server

FAST = Settings(backoff_s=(0.05, 0.1), ping_s=5.0)
# How long nothing may move for it to be taken for still.
STILL_S = 0.02
NOTHING_S = 0.1
SETTLED_S = 0.12
WITHIN_S = 1.0
PATIENCE_S = 8.0
# What a test may take: on a busy host it tries less.
BUDGET_S = 8.0
TRIES_MAX = 100
_GATED = """#!/bin/sh
echo >{gate}.said; read -r _ <{gate}.go
{work}
echo >{gate}.said; read -r _ <{gate}.go
"""
_WORK = {
    "pbcopy": "setsid --wait xclip -selection clipboard -i >/dev/null 2>&1",
    "pbpaste": "xclip -selection clipboard -o 2>/dev/null",
}


# Of "copy" and the gates that could let go on, the one that does.
Choose = Callable[[list[str]], str]


class Gate:
    """Where a program of the guest waits, twice each time it runs; `free` lets it pass."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        for end in ("said", "go"):
            os.mkfifo(f"{path}.{end}")
        self._said, self._go = (os.open(f"{path}.{end}", os.O_RDWR | os.O_NONBLOCK) for end in ("said", "go"))
        self.waiting, self.free, self.moved_at = False, True, 0.0
        asyncio.get_running_loop().add_reader(self._said, self._heard)

    def _heard(self) -> None:
        os.read(self._said, 1)
        self.waiting, self.moved_at = True, time.monotonic()
        if self.free:
            self.release()

    def release(self) -> None:
        self.waiting, self.moved_at = False, time.monotonic()
        os.write(self._go, b"\n")

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._said)
        os.close(self._said)
        os.close(self._go)


class Desk:
    """A side's display: its user, who copies, and what is seen of it by another program."""

    def __init__(self, user: HostClipboard, seen_by: HostClipboard) -> None:
        self._user, self._seen_by = user, seen_by
        self.text: bytes | None = None
        self.changed_at = 0.0

    async def copy(self, text: bytes) -> None:
        await self._user.write(text_of(text), 1 << 60)
        self.changed_at = time.monotonic()

    async def look_on(self) -> None:
        while True:
            self.text = (await self._seen_by.next_change()).content.text
            self.changed_at = time.monotonic()


class World:
    """A host, a guest, a sync between them, and gates to hold it up."""

    def __init__(self, sync: Sync, desks: dict[Side, Desk], gates: list[Gate]) -> None:
        self._sync, self._desks, self._gates = sync, desks, gates
        self._count = itertools.count()

    def _still_for(self) -> float:
        moved = [gate.moved_at for gate in self._gates] + [desk.changed_at for desk in self._desks.values()]
        return time.monotonic() - max(moved)

    async def _still(self) -> None:
        await until(lambda: self._still_for() > STILL_S)

    def _agree(self) -> bool:
        host, guest = (self._desks[side].text for side in Side)
        return host is not None and host == guest and self._sync._engine.settled and self._still_for() > SETTLED_S

    async def play(self, sides: Sequence[Side], choose: Choose) -> float:
        """Copy on these sides one after the other, with steps of the guest in between; how long they took to agree."""
        for gate in self._gates:
            gate.free = False
        told: list[str] = []
        copied, number = set[bytes](), next(self._count)
        for side in sides:
            while told and (steps := await self._steps()):
                chosen = choose(["copy", *steps])
                if chosen == "copy":
                    break
                steps[chosen].release()
                told.append(chosen)
            text = b"%d %s %d" % (number, side.value.encode(), len(told))
            copied.add(text)
            await self._desks[side].copy(text)
            told.append(side.value)
        for gate in self._gates:
            gate.free = True
            if gate.waiting:
                gate.release()
        began = time.monotonic()
        with contextlib.suppress(AssertionError):
            await until(self._agree, PATIENCE_S)
        have = {side.value: desk.text for side, desk in self._desks.items()}
        assert self._agree(), f"{' '.join(told)}: {have}"
        assert have["host"] in copied, f"{' '.join(told)}: {have}"
        return time.monotonic() - began - SETTLED_S

    async def _steps(self) -> dict[str, Gate]:
        # What was copied gets to a gate in a moment, unless it gets nowhere.
        await until(lambda: self._still_for() > (STILL_S if any(gate.waiting for gate in self._gates) else NOTHING_S))
        return {gate.name: gate for gate in self._gates if gate.waiting}


async def keep(clipboard: HostClipboard, after_s: Callable[[], float]) -> None:
    """A clipboard keeper: takes over whatever is copied."""
    while True:
        change = await clipboard.next_change()
        await asyncio.sleep(after_s())
        if change.content.forms:
            await clipboard.write(change.content, change.sequence)


@contextlib.asynccontextmanager
async def world(folder: Path, keepers: Callable[[], float] | None) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as held:
        displays = {side: held.enter_context(x_server()) for side in Side}

        async def client(side: Side) -> HostClipboard:
            return await held.enter_async_context(
                host_clipboard(Desktop("x11", displays[side]), forms=frozenset(FORMS))
            )

        folder.mkdir()
        gates = []
        path = programs(folder / "bin", "xclip", "timeout")
        Path(path, "python3").symlink_to(Path(sys.executable).resolve())
        for name, work in _WORK.items():
            gates.append(Gate(folder / name))
            held.callback(gates[-1].close)
            Path(path, name).write_text(_GATED.format(gate=folder / name, work=work))
            Path(path, name).chmod(0o755)
        desks = {side: Desk(await client(side), await client(side)) for side in Side}
        ssh = ["env", f"PATH={path}", f"DISPLAY={displays[Side.GUEST]}", f"HOME={folder}", "sh", "-c"]
        tasks = [asyncio.ensure_future(desk.look_on()) for desk in desks.values()]
        if keepers is not None:
            tasks += [asyncio.ensure_future(keep(await client(side), keepers)) for side in Side]
        try:
            async with syncing(ssh, await client(Side.HOST), FAST) as sync:
                made = World(sync, desks, gates)
                await desks[Side.HOST].copy(b"at the beginning")
                await until(made._agree)
                yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Tried:
    """All ways to choose, one after the other: the last choice that can be another is the next."""

    def __init__(self) -> None:
        self._way: list[tuple[int, int]] = []

    def ways(self) -> Iterator[Choose]:
        while True:
            at = itertools.count()
            yield lambda options, at=at: self._choice(next(at), options)
            while self._way and self._way[-1][0] + 1 >= self._way[-1][1]:
                self._way.pop()
            if not self._way:
                return
            self._way[-1] = self._way[-1][0] + 1, self._way[-1][1]

    def _choice(self, at: int, options: list[str]) -> str:
        if at == len(self._way):
            self._way.append((0, len(options)))
        return options[min(self._way[at][0], len(options) - 1)]


# The guest's copy is read before its shell hears of the host's write and told before that is done, or while one write
# follows another.
TOLD_TOO_EARLY = (
    "guest host pbcopy pbcopy guest",
    "host pbcopy pbcopy host pbpaste pbcopy pbcopy pbpaste guest",
)


@pytest.mark.parametrize("order", TOLD_TOO_EARLY)
async def test_a_copy_that_is_told_before_a_write_is_done_is_told_again(tmp_path: Path, order: str) -> None:
    words = order.split()
    sides = [Side(word) for word in words if not word.startswith("pb")]
    async with world(tmp_path / "guest", None) as played:
        for _ in range(2):
            asked = iter(words[1:])

            def next_word(options: list[str], asked: Iterator[str] = asked) -> str:
                word = next(asked)
                return word if word in options else "copy"

            await played.play(sides, next_word)


KEEPERS = {"alone": None, "with keepers": random.Random(3).random}


@pytest.mark.parametrize("kept", list(KEEPERS))
async def test_whatever_comes_between_what_both_sides_end_with_the_same(tmp_path: Path, kept: str) -> None:
    """Two copies at all steps, then three at steps of chance."""
    chance, after, began, took = random.Random(14), KEEPERS[kept], time.monotonic(), list[float]()
    keepers = None if after is None else lambda: after() * 0.05
    async with world(tmp_path / "guest", keepers) as played:
        for number, sides in enumerate(itertools.product(Side, repeat=2), 1):
            for way in Tried().ways():
                took.append(await played.play(sides, way))
                if time.monotonic() - began > BUDGET_S * number / 8:
                    break
        while time.monotonic() - began < BUDGET_S and len(took) < TRIES_MAX:
            sides = chance.choices(list(Side), k=3)
            took.append(await played.play(sides, chance.choice))
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert statistics.median(took) < WITHIN_S * busy
