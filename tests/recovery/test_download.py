"""Downloads against a real HTTP server: whole and verified, or not there; after a kill -9 only what is missing."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pommel.errors import BusyError, RecoveryError
from pommel.progress import Progress
from pommel.recovery.catalog import Board
from pommel.recovery.chunklist import ChunklistError
from pommel.recovery.client import BAD_CHUNK_TRIES, TRIES
from pommel.recovery.download import STEP, Fetched, download
from pommel.recovery.service import BoardRefused

from .apple import FakeApple, make_chunklist, test_key, unsigned

BOARD = Board("Mac-27AD2F918AE68F61")


async def no_wait(_: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "sonoma" / "BaseSystem.dmg"


async def fetch(apple: FakeApple, target: Path, connections: int = 3, told: list[Progress] | None = None) -> Fetched:
    report = (told if told is not None else []).append
    return await download(BOARD, target, origin=apple.origin, report=report, connections=connections, sleep=no_wait)


async def refused(apple: FakeApple, target: Path) -> RecoveryError:
    async with apple.running():
        with pytest.raises(RecoveryError) as caught:
            await fetch(apple, target)
    assert not target.exists()
    return caught.value


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


@pytest.mark.parametrize("connections", [1, 3, 99])
async def test_fetched_whole(target: Path, connections: int) -> None:
    apple = FakeApple()
    told: list[Progress] = []
    async with apple.running():
        done = await fetch(apple, target, connections, told)
    assert done == Fetched(target, target.with_suffix(".chunklist"), "062-58679")
    assert target.read_bytes() == apple.image
    assert done.chunklist.read_bytes() == apple.chunklist
    assert left(target) == [".BaseSystem.dmg.lock", "BaseSystem.chunklist", "BaseSystem.dmg"]
    assert sorted(apple.ranges) == list(range(10))
    assert {event.step for event in told} == {STEP}
    assert (told[0].done, told[0].total, told[0].unit) == (0, len(apple.image), "B")
    assert [event.done for event in told if event.finished] == [len(apple.image)]


async def test_the_chunklist_comes_before_any_byte_of_the_image(target: Path) -> None:
    apple = FakeApple()
    async with apple.running():
        await fetch(apple, target)
    assert apple.requests[:3] == ["GET /", "POST", "GET chunklist"]


async def test_an_image_in_one_chunk_and_another_name(target: Path) -> None:
    apple = FakeApple(image=b"small", chunk_size=100, file="RecoveryImage", whole_files=True)
    async with apple.running():
        await fetch(apple, target)
    assert target.read_bytes() == b"small"


async def test_what_is_here_is_not_fetched_again(target: Path) -> None:
    apple = FakeApple()
    async with apple.running():
        await fetch(apple, target)
        apple.requests.clear()
        await fetch(apple, target)
        assert "GET dmg" not in apple.requests
        target.write_bytes(b"broken since")
        await fetch(apple, target)
    assert target.read_bytes() == apple.image


@pytest.mark.parametrize("kind", ["forged", "method 2", "garbage", "long"])
async def test_no_byte_of_the_image_is_asked_for_by_a_bad_chunklist(target: Path, kind: str) -> None:
    good = FakeApple()
    two = unsigned([(len(good.image), hashlib.sha256(good.image).digest())], signature_method=2)
    bad = {
        "forged": make_chunklist(good.image, 16384, test_key(2)),
        "method 2": two + hashlib.sha256(two).digest(),
        "garbage": b"<html>blocked</html>" * 10,
        "long": good.chunklist + b"\0",
    }
    apple = FakeApple(chunklist=bad[kind])
    assert isinstance(await refused(apple, target), ChunklistError)
    assert "GET dmg" not in apple.requests
    assert left(target) == [".BaseSystem.dmg.lock"]


async def test_apples_own_key_counts_unless_a_test_says_otherwise(target: Path) -> None:
    apple = FakeApple()
    async with apple.running():
        origin = type(apple.origin)(apple.origin.base_url, apple.origin.hosts)
        with pytest.raises(ChunklistError, match="signature is not Apple's"):
            await download(BOARD, target, origin=origin, sleep=no_wait)


async def test_a_bad_chunk_is_dropped_and_fetched_again(target: Path) -> None:
    apple = FakeApple(corrupt=Counter({4: BAD_CHUNK_TRIES - 1, 9: 1}))
    told: list[Progress] = []
    async with apple.running():
        await fetch(apple, target, told=told)
    assert told[-2].done == told[-1].done == len(apple.image)  # what was dropped is not counted
    assert target.read_bytes() == apple.image
    assert (apple.ranges.count(4), apple.ranges.count(9), apple.ranges.count(0)) == (BAD_CHUNK_TRIES, 2, 1)


async def test_a_chunk_that_stays_bad_is_an_error_and_the_good_ones_stay(target: Path) -> None:
    apple = FakeApple(corrupt=Counter({9: 99}))
    assert "chunk 9" in (await refused(apple, target)).message
    assert apple.ranges.count(9) == BAD_CHUNK_TRIES
    apple.corrupt.clear()
    before = len(apple.ranges)
    async with apple.running():
        await fetch(apple, target)
    assert 9 in apple.ranges[before:] and 0 not in apple.ranges[before:]
    assert target.read_bytes() == apple.image


async def test_connections_that_break_are_mended(target: Path) -> None:
    apple = FakeApple(cut=Counter({0: 2, 5: 1}))
    async with apple.running():
        await fetch(apple, target)
    assert target.read_bytes() == apple.image
    assert (apple.ranges.count(0), apple.ranges.count(5)) == (3, 2)


async def test_a_connection_that_always_breaks_is_an_error(target: Path) -> None:
    apple = FakeApple(cut=Counter({0: 99}))
    error = await refused(apple, target)
    assert f"failed {TRIES} times" in error.message
    assert error.hint and error.hint.startswith("check the network") and error.hint.endswith(" that came are kept")


@pytest.mark.parametrize("change", [-1, 1, 16384])
async def test_a_file_of_another_size_is_an_error(target: Path, change: int) -> None:
    apple = FakeApple()
    size = len(apple.image)
    apple.image = (apple.image + bytes(change))[: size + change] if change > 0 else apple.image[:change]
    assert f"has {size + change} bytes, its chunklist says {size}" in (await refused(apple, target)).message


async def test_more_than_was_asked_for_is_not_taken(target: Path) -> None:
    apple = FakeApple(too_much=b"more")
    assert "the server sent more data than requested" in (await refused(apple, target)).message


async def test_a_server_without_ranges_is_an_error(target: Path) -> None:
    assert "only whole files" in (await refused(FakeApple(whole_files=True), target)).message


@pytest.mark.parametrize("connections", [1, 4])
async def test_tokens_that_expire_midway_are_renewed(target: Path, connections: int) -> None:
    apple = FakeApple(token_uses=3)
    async with apple.running():
        await fetch(apple, target, connections)
    assert target.read_bytes() == apple.image
    assert len(apple.posts) == 4  # 10 chunks at 3 a token: one who finds it stale renews it for all
    assert sorted(apple.ranges) == list(range(10))


async def test_a_token_that_never_works_is_an_error(target: Path) -> None:
    apple = FakeApple(token_uses=0)
    assert "token was refused" in (await refused(apple, target)).message


async def test_an_image_that_is_replaced_midway_is_an_error(target: Path) -> None:
    apple = FakeApple(token_uses=3)

    async def sleep(_: float) -> None: ...

    def report(event: Progress) -> None:
        apple.product = "093-10615"

    async with apple.running():
        with pytest.raises(RecoveryError, match="newer image"):
            await download(BOARD, target, origin=apple.origin, report=report, connections=1, sleep=sleep)


async def test_a_board_refused_midway_is_not_a_board_without_an_image(target: Path) -> None:
    apple = FakeApple(token_uses=3)

    def report(event: Progress) -> None:
        apple.boards.clear()

    async with apple.running():
        with pytest.raises(RecoveryError, match="no new token") as caught:
            await download(BOARD, target, origin=apple.origin, report=report, connections=1, sleep=no_wait)
    assert not isinstance(caught.value, BoardRefused)


async def test_a_refused_board_leaves_nothing(target: Path) -> None:
    assert isinstance(await refused(FakeApple(boards=set()), target), BoardRefused)
    assert left(target) == [".BaseSystem.dmg.lock"]


async def test_retry_after_on_the_image(target: Path) -> None:
    apple = FakeApple()
    apple.asset_faults.extend([(429, {"Retry-After": "11"}), (503, {})])
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with apple.running():
        await download(BOARD, target, origin=apple.origin, sleep=sleep)
    assert waits[0] == 11.0 and len(waits) == 2
    assert target.read_bytes() == apple.image


async def test_two_at_once_are_one(target: Path) -> None:
    apple = FakeApple(delay_s=0.01)
    async with apple.running():
        results = await asyncio.gather(fetch(apple, target), fetch(apple, target), return_exceptions=True)
    assert isinstance(results[0], Fetched)
    assert isinstance(results[1], BusyError)


async def test_cancelled_then_resumed(target: Path) -> None:
    apple = FakeApple(delay_s=0.02)
    journal = target.with_name("BaseSystem.dmg.journal")
    async with apple.running():
        running = asyncio.ensure_future(fetch(apple, target))
        while not (journal.exists() and journal.read_text().count("\n") > 2):
            await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        kept = {int(line) for line in journal.read_text().splitlines()[1:]}
        apple.ranges.clear()
        await fetch(apple, target)
    assert sorted(apple.ranges) == sorted(set(range(10)) - kept)
    assert target.read_bytes() == apple.image


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with FakeApple().running() as apple:
        with pytest.raises(RecoveryError, match="cannot be written") as caught:
            await fetch(apple, tmp_path / "file" / "a.dmg")
    assert "free some space" in (caught.value.hint or "") and "kept" not in (caught.value.hint or "")


async def test_a_disk_that_fills_up_midway(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite

    def full(fd: int, data: memoryview, at: int) -> int:
        if at >= 5 * 16384:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data, at)

    apple = FakeApple()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        error = await refused(apple, target)
    assert "No space left on device" in error.message and "free some space" in (error.hint or "")
    assert "that came are kept" in (error.hint or "")
    apple.ranges.clear()
    async with apple.running():
        await fetch(apple, target)
    assert target.read_bytes() == apple.image
    assert 0 not in apple.ranges


KILLED = """
import asyncio, sys
from pathlib import Path
from pommel.recovery.catalog import Board
from pommel.recovery.chunklist import ChunklistKey
from pommel.recovery.origin import Origin
from pommel.recovery.download import download
host, key, target, board = sys.argv[1:]
origin = Origin("http://" + host, frozenset({host}), ChunklistKey(int(key)))
asyncio.run(download(Board(board), Path(target), origin=origin, connections=2))
"""


@pytest.mark.parametrize("optimised", [[], ["-O"]], ids=["plain", "python-O"])
async def test_killed_midway_only_what_is_missing_is_fetched(target: Path, optimised: list[str]) -> None:
    apple = FakeApple(image=random.Random(3).randbytes(40 * 16384), delay_s=0.05)
    journal = target.with_name("BaseSystem.dmg.journal")
    async with apple.running():
        words = [f"127.0.0.1:{apple.port}", str(test_key().modulus), str(target), BOARD.board_id]
        child = await asyncio.create_subprocess_exec(
            sys.executable, *optimised, "-c", KILLED, *words, stdin=subprocess.DEVNULL
        )
        while not (journal.exists() and journal.read_text().count("\n") > 5):
            assert child.returncode is None
            await asyncio.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        assert not target.exists()
        kept = {int(line) for line in journal.read_text().splitlines()[1:]}
        assert 5 <= len(kept) < 40
        apple.delay_s = 0.0
        await asyncio.sleep(0.1)  # what the dead one asked for last is answered into the void
        apple.ranges.clear()
        await fetch(apple, target)
    assert sorted(apple.ranges) == sorted(set(range(40)) - kept)
    assert target.read_bytes() == apple.image
    assert left(target) == [".BaseSystem.dmg.lock", "BaseSystem.chunklist", "BaseSystem.dmg"]


async def test_under_python_O_a_forged_chunklist_downloads_nothing(target: Path) -> None:
    apple = FakeApple()
    apple.chunklist = apple.chunklist[:-256] + bytes(256)
    async with apple.running():
        words = [f"127.0.0.1:{apple.port}", str(test_key().modulus), str(target), BOARD.board_id]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-O", "-c", KILLED, *words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        _, said = await child.communicate()
    assert child.returncode == 1
    assert b"ChunklistError: the chunklist cannot be trusted: its signature is not Apple's" in said
    assert "GET dmg" not in apple.requests
    assert left(target) == [".BaseSystem.dmg.lock"]
