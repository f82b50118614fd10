"""A folder as an archive that is made while it is sent, of files that another function reads. Band: shell."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable

from pommel.sftp.archive import Archive, padding, top_name
from pommel.sftp.tree import CopyPlan

PIECE = 256 << 10


async def archive_of(plan: CopyPlan, name: str) -> tuple[Archive, int]:
    """The archive of a planned folder, and its length."""
    archive = Archive(plan, top_name(name), int(time.time()))
    # In a thread: for a large folder this takes long, and would stop the page's pictures.
    return archive, await asyncio.to_thread(lambda: archive.length)


async def packed(
    archive: Archive, read: Callable[[bytes, int], AsyncGenerator[bytes, None]]
) -> AsyncGenerator[bytes, None]:
    """Yield the archive's bytes; `read` reads the file at a path, of a known size."""
    ready = bytearray()  # small files are collected into larger pieces, because each piece costs a send
    for head, entry in archive.parts():
        ready += head
        if entry is not None and entry.size:
            async with contextlib.aclosing(read(entry.source, entry.size)) as pieces:
                async for piece in pieces:
                    ready += piece
                    if len(ready) >= PIECE:
                        yield bytes(ready)
                        ready.clear()
            ready += padding(entry.size)
        if len(ready) >= PIECE:
            yield bytes(ready)
            ready.clear()
    yield bytes(ready)
