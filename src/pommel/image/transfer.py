"""Pushes an image to a registry, or pulls one: only the missing blobs. Band: shell.

Transferred blobs stay, so an interrupted command continues where it stopped when it is run again. The tag is set last,
after the signature: a tagged image is always complete.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from pommel.errors import ImageError, PommelError
from pommel.image import manifest as manifests
from pommel.image import signature
from pommel.image.manifest import MANIFEST_MAX, Blob, Manifest
from pommel.image.registry import Registry
from pommel.image.store import ImageStore, signature_name
from pommel.progress import Progress, Report, ignore

CONNECTIONS = 4
_MEMORY = 256 << 20  # the maximum memory for blobs in transfer


async def missing(registry: Registry, reference: str, blobs: Sequence[Blob], *, report: Report = ignore) -> list[Blob]:
    """The blobs that the registry does not have; `reference` is a tag that may already have most of them.

    Raises:
        ImageError: the registry cannot be queried.
    """
    there: set[str] = set()
    if (data := await registry.manifest(reference)) is not None:
        with contextlib.suppress(ValueError):  # an image of another kind
            there = {blob.digest for blob in manifests.parse(data).blobs}  # a registry has what its manifests name
    asked = [blob for blob in blobs if blob.digest not in there]
    found: dict[str, bool] = {}

    async def ask(blob: Blob) -> None:
        found[blob.digest] = await registry.has(blob)
        report(Progress("ask", "asking what is there", len(found), len(asked), "pieces"))

    await _each(asked, ask)
    return [blob for blob in asked if not found[blob.digest]]


async def send(registry: Registry, store: ImageStore, blobs: Sequence[Blob], *, report: Report = ignore) -> int:
    """Send the blobs, and return their size in bytes.

    Raises:
        ImageError: a blob has changed here, or the registry does not accept one.
    """
    total, done = sum(blob.size for blob in blobs), 0

    def arrived(count: int) -> None:
        nonlocal done
        done += count
        report(Progress("push", "sending", done, max(total, 1), "B"))

    async def one(blob: Blob) -> None:
        data = await asyncio.to_thread(store.read, blob, manifests.packed_max(blob.size))
        await registry.send(blob, data, arrived)

    await _each(blobs, one)
    report(Progress("push", "all is sent", finished=True))
    return total


async def name(registry: Registry, store: ImageStore, image: Manifest, tag: str) -> None:
    """Set the tag of an image whose blobs the registry has; its signature, if there is one, is set before."""
    if (signed := store.find(signature_name(image.blob))) is not None:
        data = store.read(signed.manifest, MANIFEST_MAX)
        for blob in signature.blobs(data):
            if not await registry.has(blob):
                await registry.send(blob, store.read(blob, signature.TEXT_MAX), lambda _: None)
        await registry.put_manifest(signature_name(image.blob), data)
    await registry.put_manifest(tag, store.read(image.blob, MANIFEST_MAX))


async def signature_of(registry: Registry, image: Blob) -> bytes | None:
    """The signature of an image at the registry, as minisign's file, unchecked; None: it has none.

    Raises:
        ImageError: the manifest with its name is not a signature.
    """
    data = await registry.manifest(signature_name(image))
    if data is None:
        return None
    try:
        *_, layer = signature.blobs(data)
    except ValueError as wrong:
        raise ImageError(f"the signature of the image cannot be used: {wrong}") from wrong
    return await registry.fetch(layer, lambda _: None)


async def fetch(registry: Registry, store: ImageStore, blobs: Sequence[Blob], *, report: Report = ignore) -> int:
    """Fetch the blobs into the store, and return their size in bytes.

    Raises:
        ImageError: one cannot be fetched, or does not match its name.
        OSError: the store cannot be written.
    """
    total, done = sum(blob.size for blob in blobs), 0

    def arrived(count: int) -> None:
        nonlocal done
        done += count
        report(Progress("pull", "fetching", done, max(total, 1), "B"))

    async def one(blob: Blob) -> None:
        data = await registry.fetch(blob, arrived)
        await asyncio.to_thread(store.add, data, blob)

    await _each(blobs, one)
    report(Progress("pull", "all has come", finished=True))
    return total


async def _each(blobs: Iterable[Blob], work: Callable[[Blob], Awaitable[None]]) -> None:
    """Do `work` for each blob, a few at once; the first error cancels the others."""
    queue = deque(blobs)
    largest = max((blob.size for blob in queue), default=1)

    async def worker() -> None:
        while queue:
            await work(queue.popleft())

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, min(CONNECTIONS, len(queue), _MEMORY // max(largest, 1)))):
                group.create_task(worker())
    except* (PommelError, OSError) as failures:
        raise _first(failures) from None


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    found = failures.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
