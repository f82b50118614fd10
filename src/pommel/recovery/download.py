"""Fetch a recovery image so that it is Apple's or is not there. Band: shell.

    session, POST -> chunklist, its signature checked -> chunks, each hashed as it comes -> .part -> rename

The image appears under its name whole and verified, or not at all. Run again after anything, a kill -9 too, and only
what is missing is fetched. Which macOS is inside the caller finds out, and asks with the next board if it must.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import PommelError, RecoveryError
from pommel.locks import hold
from pommel.progress import Progress, Report, ignore
from pommel.recovery.catalog import Board
from pommel.recovery.chunklist import Chunk, Chunklist, parse
from pommel.recovery.client import BAD_CHUNK_TRIES, Again, BadChunk, Client, Sleep, Stale, open_http
from pommel.recovery.origin import Origin
from pommel.recovery.pace import Pace
from pommel.recovery.part import Part, chunklist_beside
from pommel.recovery.service import Answer, BoardRefused
from pommel.recovery.verify import verify_file
from pommel.recovery.worker import in_thread

STEP = "recovery image"


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image on disk that is what Apple signed, its chunklist, and Apple's product id ("062-58679")."""

    image: Path
    chunklist: Path
    product: str


async def download(
    board: Board,
    target: Path,
    *,
    origin: Origin | None = None,
    report: Report = ignore,
    connections: int = 3,
    sleep: Sleep = asyncio.sleep,
    spare_factor: int = 0,
) -> Fetched:
    """Fetch the board's recovery image to `target`, over 1 to 4 connections, from where an earlier run stopped.

    There must be room for it, and for `spare_factor` times as much again.

    Raises:
        BoardRefused: Apple has no image for the board; another board may do.
        BusyError: another download has the same target.
        RecoveryError: it cannot be had or trusted, or there is no room. Chunks that were good are kept.
    """
    origin = origin or Origin()
    connections = min(max(connections, 1), 4)
    try:
        with hold(target.with_name(f".{target.name}.lock"), busy=f"{target} is already being downloaded"):
            async with open_http(connections) as http:
                run = _Download(Client(http, origin, sleep), board, target, report, spare_factor)
                return await run.run(origin, connections)
    except OSError as error:
        raise RecoveryError(
            f"{target} cannot be written: {error.strerror or error}",
            hint="free some space or fix the permissions, then run the same command again: downloaded data is kept",
        ) from error


class _Download:
    """One run; the token that opens the image is renewed by whoever first finds it stale."""

    def __init__(self, client: Client, board: Board, target: Path, report: Report, spare_factor: int) -> None:
        self._client = client
        self._board = board
        self._target = target
        self._report = report
        self._spare_factor = spare_factor
        self._renewing = asyncio.Lock()

    async def run(self, origin: Origin, connections: int) -> Fetched:
        self._answer, raw = await self._client.patiently("fetching the chunklist", self._begin)
        chunklist = parse(raw, origin.key)
        done = Fetched(self._target, chunklist_beside(self._target), self._answer.product)
        if await in_thread(lambda: self._is_here(chunklist)):
            self._tell(chunklist.total_size, chunklist.total_size, "already here", finished=True)
            return done
        part = Part(self._target, chunklist)
        try:
            await in_thread(lambda: part.recover(self._spare_factor * chunklist.total_size))
            await self._fill(part, connections)
            await in_thread(lambda: part.finish(raw))
        finally:
            part.close()
        self._tell(chunklist.total_size, chunklist.total_size, finished=True)
        return done

    async def _begin(self) -> tuple[Answer, bytes]:
        answer = await self._client.ask(self._board)
        try:
            return answer, await self._client.fetch_chunklist(answer.chunklist)
        except Stale:
            raise Again("the chunklist's token was refused") from None

    def _is_here(self, chunklist: Chunklist) -> bool:
        """Whether an earlier run ended well with this very image."""
        if not (self._target.is_file() and chunklist_beside(self._target).is_file()):
            return False
        try:
            verify_file(self._target, chunklist)
        except RecoveryError:
            return False
        return True

    async def _fill(self, part: Part, connections: int) -> None:
        queue = deque(part.missing)
        pace = Pace(part.chunklist.total_size, part.good_size, time.monotonic())
        self._tell(pace.done, pace.total)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(connections, len(queue))):
                    group.create_task(self._work(part, queue, pace))
        except* (PommelError, OSError) as errors:
            raise _first(errors) from None
        self._tell(pace.done, pace.total)

    async def _work(self, part: Part, queue: deque[int], pace: Pace) -> None:
        while queue:
            index = queue.popleft()
            data = await self._chunk(index, part.chunklist, pace)
            await in_thread(functools.partial(part.write, index, data))

    async def _chunk(self, index: int, chunklist: Chunklist, pace: Pace) -> bytearray:
        bad = 0

        async def attempt() -> bytearray:
            nonlocal bad
            try:
                return await self._once(chunklist.chunks[index], chunklist.total_size, pace)
            except BadChunk:
                bad += 1
                if bad == BAD_CHUNK_TRIES:
                    raise RecoveryError(
                        f"chunk {index} of the image was downloaded {bad} times, and never matched its chunklist",
                        hint="try another network: this network changes the data",
                    ) from None
                raise Again("a chunk was bad") from None

        return await self._client.patiently(f"fetching chunk {index} of the image", attempt)

    async def _once(self, chunk: Chunk, total: int, pace: Pace) -> bytearray:
        came, answer = 0, self._answer

        def arrived(count: int) -> None:
            nonlocal came
            came += count
            if pace.arrived(count, time.monotonic()):
                self._tell(pace.done, total, pace.text(time.monotonic()))

        try:
            return await self._client.fetch_chunk(answer.image, chunk, total, arrived)
        except BaseException as failure:
            pace.dropped(came)
            if not isinstance(failure, Stale):
                raise
        # The server's clock decides when a token is stale; ours may be wrong.
        await self._renew(answer)
        raise Again("the image's token was refused", wait_s=0.0)

    async def _renew(self, stale: Answer) -> None:
        async with self._renewing:
            if self._answer is not stale:
                return
            try:
                fresh = await self._client.ask(self._board)
            except BoardRefused:
                raise RecoveryError(
                    f"Apple gives no new token for board {self._board.board_id}", hint="try again later"
                ) from None
            if fresh.image.path != stale.image.path:
                raise RecoveryError(
                    "Apple has a newer image since this download began", hint="run the same command again"
                )
            self._answer = fresh

    def _tell(self, done: int, total: int, text: str = "", *, finished: bool = False) -> None:
        self._report(Progress(STEP, text, done, total, "B", finished=finished))


def _first(errors: BaseExceptionGroup[PommelError | OSError]) -> BaseException:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
