"""Downloads a recovery image, verified as Apple's, or a full installer. Band: shell.

    session, POST -> chunklist, its signature checked -> chunks, each hashed on arrival -> .part -> rename
    catalogue     -> chunklist, its digest checked    -> the same

The image appears under its name complete and verified, or not at all. When it is run again after any interruption, also
a kill -9, only missing chunks are fetched. The caller determines the macOS inside, and tries the next board if needed.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import PommelError, RecoveryError
from pommel.locks import hold
from pommel.progress import Progress, Report, ignore
from pommel.recovery.catalog import Board
from pommel.recovery.chunklist import Chunk, Chunklist
from pommel.recovery.client import BAD_CHUNK_TRIES, AskAgain, BadChunk, Client, Sleep, Stale, open_http
from pommel.recovery.origin import Origin
from pommel.recovery.pace import DownloadPace
from pommel.recovery.part import PartialImage, chunklist_beside
from pommel.recovery.service import Asset
from pommel.recovery.software_catalog import Product
from pommel.recovery.sources import BoardSource, PackageSource, Source
from pommel.recovery.verify import verify_file
from pommel.recovery.worker import in_thread
from pommel.settings import format_size

STEP = "recovery image"
PACKAGE_STEP = "installer"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file on disk that matches its chunklist, the chunklist, and Apple's product id ("062-58679")."""

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
    """Fetch the board's recovery image to `target`, over 1 to 4 connections, continuing an earlier run.

    There must be space for it, and for `spare_factor` times as much in addition.

    Raises:
        BoardRefused: Apple has no image for the board; another board may have one.
        BusyError: another download has the same target.
        RecoveryError: it cannot be fetched or trusted, or there is not enough space. Verified chunks are kept.
    """
    origin = origin or Origin()
    how = _How(STEP, min(max(connections, 1), 4), spare_factor)
    return await _locked(
        lambda client: BoardSource(client, board, origin.key), target, how, origin=origin, report=report, sleep=sleep
    )


async def download_package(
    product: Product,
    target: Path,
    *,
    origin: Origin | None = None,
    report: Report = ignore,
    connections: int = 3,
    sleep: Sleep = asyncio.sleep,
) -> Fetched:
    """Fetch a full installer to `target`, as `download` does; it is checked with a digest, not a signature.

    Raises:
        BusyError: another download has the same target.
        RecoveryError: it cannot be fetched, is damaged, or there is not enough space. Verified chunks are kept.
    """
    how = _How(PACKAGE_STEP, min(max(connections, 1), 4))
    return await _locked(
        lambda client: PackageSource(client, product),
        target,
        how,
        origin=origin or Origin(),
        report=report,
        sleep=sleep,
    )


@dataclass(frozen=True, slots=True)
class _How:
    step: str
    connections: int
    spare_factor: int = 0


async def _locked(
    source: Callable[[Client], Source], target: Path, how: _How, *, origin: Origin, report: Report, sleep: Sleep
) -> Fetched:
    try:
        with hold(target.with_name(f".{target.name}.lock"), busy=f"{target} is already being downloaded"):
            async with open_http(how.connections) as http:
                client = Client(http, origin, sleep)
                return await _Download(client, source(client), target, report, how).run()
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(target: Path, error: OSError) -> RecoveryError:
    return RecoveryError(
        f"{target} cannot be written: {error.strerror or error}",
        hint="free some space or fix the permissions, then run the same command again",
    )


class _Download:
    """One run; the first task that finds the file's token expired renews it."""

    def __init__(self, client: Client, source: Source, target: Path, report: Report, how: _How) -> None:
        self._client = client
        self._source = source
        self._target = target
        self._report = report
        self._how = how
        self._renewing = asyncio.Lock()

    async def run(self) -> Fetched:
        self._asset, raw = await self._client.patiently("fetching the chunklist", self._source.begin)
        chunklist = self._source.parse(raw)
        done = Fetched(self._target, chunklist_beside(self._target), self._source.product)
        if await in_thread(lambda: self._is_here(chunklist)):
            self._report_progress(chunklist.total_size, chunklist.total_size, "already here", finished=True)
            return done
        part = PartialImage(self._target, chunklist)
        try:
            await in_thread(lambda: part.recover(self._how.spare_factor * chunklist.total_size))
            await self._fill(part, self._how.connections)
            await in_thread(lambda: part.finish(raw))
        except OSError as error:
            raise _with_what_is_kept(_unwritable(self._target, error), part) from error
        except RecoveryError as failure:
            raise _with_what_is_kept(failure, part) from failure.__cause__
        finally:
            part.close()
        self._report_progress(chunklist.total_size, chunklist.total_size, finished=True)
        return done

    def _is_here(self, chunklist: Chunklist) -> bool:
        """Whether an earlier run has completed this same image."""
        if not (self._target.is_file() and chunklist_beside(self._target).is_file()):
            return False
        try:
            verify_file(self._target, chunklist)
        except RecoveryError:
            return False
        return True

    async def _fill(self, part: PartialImage, connections: int) -> None:
        queue = deque(part.missing)
        pace = DownloadPace(part.chunklist.total_size, part.good_size, time.monotonic())
        self._report_progress(pace.done, pace.total)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(connections, len(queue))):
                    group.create_task(self._work(part, queue, pace))
        except* (PommelError, OSError) as errors:
            raise _first(errors) from None
        self._report_progress(pace.done, pace.total)

    async def _work(self, part: PartialImage, queue: deque[int], pace: DownloadPace) -> None:
        while queue:
            index = queue.popleft()
            data = await self._chunk(index, part.chunklist, pace)
            await in_thread(functools.partial(part.write, index, data))

    async def _chunk(self, index: int, chunklist: Chunklist, pace: DownloadPace) -> bytearray:
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
                raise AskAgain("a chunk was bad") from None

        return await self._client.patiently(f"fetching chunk {index} of the image", attempt)

    async def _once(self, chunk: Chunk, total: int, pace: DownloadPace) -> bytearray:
        came, asset = 0, self._asset

        def arrived(count: int) -> None:
            nonlocal came
            came += count
            if pace.arrived(count, time.monotonic()):
                self._report_progress(pace.done, total, pace.text(time.monotonic()))

        try:
            return await self._client.fetch_chunk(asset, chunk, total, arrived)
        except BaseException as failure:
            pace.dropped(came)  # the next attempt fetches these bytes again
            if not isinstance(failure, Stale):
                raise
        # The server's clock decides when a token expires; ours may be wrong.
        await self._renew(asset)
        raise AskAgain("the file's token was refused", wait_s=0.0)

    async def _renew(self, stale: Asset) -> None:
        async with self._renewing:
            if self._asset is stale:  # else another task has renewed it meanwhile
                self._asset = await self._source.renew(stale)

    def _report_progress(self, done: int, total: int, text: str = "", *, finished: bool = False) -> None:
        self._report(Progress(self._how.step, text, done, total, "B", finished=finished))


def _with_what_is_kept(failure: RecoveryError, part: PartialImage) -> RecoveryError:
    """Add to the hint that the next run continues from here, if there are verified chunks."""
    if part.good_size:
        failure.hint = "; ".join(filter(None, (failure.hint, f"the {format_size(part.good_size)} that came are kept")))
    return failure


def _first(errors: BaseExceptionGroup[PommelError | OSError]) -> BaseException:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
