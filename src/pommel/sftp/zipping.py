"""A planned copy as a zip file that is made while it is sent, of files that another function reads. Band: shell.

Links are left out: what they lead to may be outside, and few programs that unpack a zip file make links.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import zipfile
from collections.abc import AsyncGenerator, Callable

from pommel.sftp.tree import CopyPlan, EntryKind, TreeEntry

_FIRST_YEAR = (1980, 1, 1, 0, 0, 0)  # a zip file knows no time before
_LAST_S = 4354819198  # and none after 2107


class _Sink:
    """Takes what zipfile writes; it cannot go back, so zipfile does not need to."""

    def __init__(self) -> None:
        self._ready = bytearray()

    def write(self, data: bytes) -> int:
        self._ready += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        data = bytes(self._ready)
        self._ready.clear()
        return data


async def zipped(
    plan: CopyPlan, read: Callable[[bytes, int], AsyncGenerator[bytes, None]]
) -> AsyncGenerator[bytes, None]:
    """Yield the zip file's bytes; `read` reads the file at a path, of a known size."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        for entry in plan.entries:
            if entry.kind is EntryKind.FOLDER:
                archive.writestr(_info(entry, "/"), b"")
            elif entry.kind is EntryKind.FILE:
                with archive.open(_info(entry), "w", force_zip64=True) as out:
                    async with contextlib.aclosing(read(entry.source, entry.size)) as pieces:
                        async for piece in pieces:
                            await asyncio.to_thread(out.write, piece)
                            yield sink.take()
            yield sink.take()
    yield sink.take()


def _info(entry: TreeEntry, ending: str = "") -> zipfile.ZipInfo:
    when = time.gmtime(min(entry.mtime, _LAST_S))[:6] if entry.mtime else _FIRST_YEAR
    info = zipfile.ZipInfo(entry.path.decode(errors="replace") + ending, max(when, _FIRST_YEAR))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (entry.mode & 0o777) << 16
    return info
