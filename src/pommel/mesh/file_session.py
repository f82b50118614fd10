"""Serves one viewer's Files tab, over the device's own SSH. Band: shell.

Each order is done in its turn, except what takes long: one upload, one download and one zip file at a time beside the
rest. A refusal is a line over the viewer's list of files. A file gets its name when it is whole; what is not, is
deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pommel.errors import PommelError
from pommel.mesh import control, file_orders
from pommel.mesh.file_orders import FileOrder
from pommel.sftp.browsing import Upload
from pommel.sftp.service import FileService
from pommel.sftp.spelling import display, joined
from pommel.tasks import start_task, stop_tasks

_QUEUED = 16  # messages of an upload, of 64 KiB, that wait for the guest
_CLEAR_S = 5.0


class FilesRelay(Protocol):
    """The viewer, at the other end of the relay."""

    async def send(self, data: bytes) -> None:
        """Send binary data."""

    async def tell(self, text: str) -> None:
        """Send a control text if the viewer is still there."""

    async def send_text(self, text: str) -> None:
        """Send a text."""

    async def tell_data(self, *messages: bytes) -> None:
        """Send binary messages if the viewer is still there."""

    def plain(self) -> AsyncIterator[bytes]:
        """Yield what the viewer sends, until it disconnects."""


# Notes what was done, for the server's log: its number for the text, the text, and the parts that the page puts in.
Note = Callable[..., Awaitable[None]]


@dataclass(slots=True)
class _Sending:
    """An upload under way."""

    upload: Upload
    number: Any
    parts: asyncio.Queue[bytes | None]
    work: asyncio.Task[int]


class FileSession:
    """One viewer. `note` is called with each thing that was done."""

    def __init__(self, relay: FilesRelay, files: FileService, note: Note) -> None:
        self._relay, self._files, self._note = relay, files, note
        self._sending: _Sending | None = None
        self._download: tuple[Any, asyncio.Task[None]] | None = None
        self._room = asyncio.Semaphore(0)
        self._packing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the viewer until it leaves. Nothing that was begun goes on after that."""
        try:
            async for message in self._relay.plain():
                if (order := file_orders.parse_file_order(message)) is not None:
                    await self._explained(self._obey(order))
        finally:
            works = [self._download[1] if self._download else None, self._packing]
            await stop_tasks(*(work for work in works if work is not None))
            with contextlib.suppress(PommelError, TimeoutError):
                async with asyncio.timeout(_CLEAR_S):
                    await self._drop_upload()

    async def _explained(self, work: Awaitable[None]) -> None:
        try:
            await work
        except PommelError as failure:
            hint = f" ({failure.hint})" if failure.hint else ""
            await self._relay.tell(control.message(failure.message + hint))

    async def _obey(self, order: FileOrder) -> None:
        match order:
            case file_orders.ListFolder():
                await self._list(order)
            case file_orders.MakeFolder(path):
                await self._files.make_folder(path)
                await self._note(44, f'Create folder: "{display(path)}"', display(path))
            case file_orders.Remove(paths, whole):
                await self._remove(paths, whole)
            case file_orders.Rename(old, new):
                await self._files.rename(old, new)
                await self._note(48, f'Rename: "{display(old)}" to "{display(new)}"', display(old), display(new))
            case file_orders.MoveFiles(pairs, move):
                await self._transfer(pairs, move)
            case file_orders.Pack():
                self._start_packing(order)
            case file_orders.CancelPacking():
                await stop_tasks(*([self._packing] if self._packing is not None else []))
            case file_orders.NotOffered(what):
                await self._relay.tell(control.message(f"this device cannot {what}"))
            case _:
                await self._carry(order)

    async def _carry(self, order: FileOrder) -> None:
        """What belongs to an upload or a download."""
        match order:
            case file_orders.StartDownload(number, path):
                await self._start_download(number, path)
            case file_orders.MoreBlocks(number, count) if self._download and self._download[0] == number:
                for _ in range(count):
                    self._room.release()
            case file_orders.StopDownload(number) if self._download and self._download[0] == number:
                await stop_tasks(self._download[1])
            case file_orders.StartUpload():
                await self._start_upload(order)
            case file_orders.FileData(data):
                await self._take(data)
            case file_orders.EndUpload(keep):
                await (self._finish_upload() if keep else self._cancel_upload())
            case file_orders.HashFile():
                await self._relay.send(file_orders.no_hash(order))

    async def _list(self, order: file_orders.ListFolder) -> None:
        path = order.path.decode(errors="replace")
        try:
            found = await self._files.listing(order.path)
        except PommelError:
            await self._relay.send(file_orders.listing(order, path, None))
            raise
        answer = await asyncio.to_thread(file_orders.listing, order, path, found)
        await self._relay.send(answer)

    async def _remove(self, paths: tuple[bytes, ...], whole: bool) -> None:
        for path in paths:
            await self._files.remove([path], whole=whole)
            await self._note(45, f'Delete: "{display(path)}"', display(path))

    async def _transfer(self, pairs: tuple[tuple[bytes, bytes], ...], move: bool) -> None:
        for old, new in pairs:
            if old == new:
                continue
            await (self._files.rename(old, new) if move else self._files.copy(old, new))
            words = f'{"Move" if move else "Copy"}: "{display(old)}" to "{display(new)}"'
            await self._note(52 if move else 51, words, display(old), display(new))

    # --- download ---

    async def _start_download(self, number: Any, path: bytes) -> None:
        if self._download is not None:
            await stop_tasks(self._download[1])
        self._room = asyncio.Semaphore(0)
        self._download = number, start_task(self._explained(self._send_file(number, path)))

    async def _send_file(self, number: Any, path: bytes) -> None:
        try:
            async with self._files.opened(path, folders=False) as (facts, reading):
                await self._note(49, f'Download: "{display(path)}"', display(path))
                await self._relay.send(file_orders.download_answer("start", number))
                async with contextlib.aclosing(reading(0, facts.size)) as pieces:
                    held = b""
                    async for piece in pieces:
                        data = held + piece
                        while len(data) > file_orders.BLOCK:
                            await self._block(data[: file_orders.BLOCK], last=False)
                            data = data[file_orders.BLOCK :]
                        held = data
                await self._block(held, last=True)
        except ConnectionError:
            return  # the viewer has left
        except PommelError:
            await self._relay.tell_data(file_orders.download_answer("cancel", number))
            raise

    async def _block(self, data: bytes, *, last: bool) -> None:
        await self._room.acquire()
        await self._relay.send(file_orders.block(data, last=last))

    # --- upload ---

    async def _start_upload(self, order: file_orders.StartUpload) -> None:
        await self._drop_upload()
        upload = Upload(order.path, order.size, None)
        try:
            await self._files.discard(upload)
            await self._files.begin(upload, replace=True)
        except PommelError:
            await self._relay.send(file_orders.upload_answer("error", order.number))
            raise
        parts: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUED)
        work = start_task(self._files.receive(upload, 0, _parts(parts)))
        self._sending = _Sending(upload, order.number, parts, work)
        await self._relay.send(file_orders.upload_answer("start", order.number))

    async def _take(self, data: bytes) -> None:
        if (sending := self._sending) is None:
            return
        if await self._put(sending, data):
            await self._relay.send(file_orders.upload_answer("ack", sending.number))

    async def _put(self, sending: _Sending, data: bytes | None) -> bool:
        """Give the next part to the guest; False: it takes no more."""
        putting = start_task(sending.parts.put(data))
        try:
            await asyncio.wait((putting, sending.work), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not putting.done():
                await stop_tasks(putting)
        if not sending.work.done():
            return True
        await self._fail_upload(sending)
        return False

    async def _finish_upload(self) -> None:
        if (sending := self._sending) is None:
            return
        await self._put_end(sending)
        self._sending = None
        path, size = sending.upload.path, sending.upload.size
        try:
            await sending.work
            await self._files.finish(sending.upload, replace=True)
        except PommelError:
            await self._relay.send(file_orders.upload_answer("error", sending.number))
            await self._files.discard(sending.upload)
            raise
        await self._note(105, f'Upload: "{display(path)}", Size: {size}', display(path), size)
        await self._relay.send(file_orders.upload_answer("done", sending.number))

    async def _put_end(self, sending: _Sending) -> None:
        putting = start_task(sending.parts.put(None))
        await asyncio.wait((putting, sending.work), return_when=asyncio.FIRST_COMPLETED)
        await stop_tasks(putting)

    async def _fail_upload(self, sending: _Sending) -> None:
        self._sending = None
        await self._relay.send(file_orders.upload_answer("error", sending.number))
        with contextlib.suppress(PommelError):
            await self._files.discard(sending.upload)
        sending.work.result()  # raises why

    async def _cancel_upload(self) -> None:
        if (sending := self._sending) is not None:
            await self._drop_upload()
            await self._relay.send(file_orders.upload_answer("cancel", sending.number))

    async def _drop_upload(self) -> None:
        if (sending := self._sending) is None:
            return
        self._sending = None
        await stop_tasks(sending.work)
        await self._files.discard(sending.upload)

    # --- zip ---

    def _start_packing(self, order: file_orders.Pack) -> None:
        if self._packing is None or self._packing.done():
            self._packing = start_task(self._explained(self._pack(order)))

    async def _pack(self, order: file_orders.Pack) -> None:
        output = joined(order.folder, order.output)
        with contextlib.suppress(ConnectionError):
            await self._relay.send(file_orders.packing(order.output))
            try:
                await self._files.pack(order.folder, order.names, output)
                await self._note(0, f'Zip: "{display(output)}"')
            finally:
                await self._relay.tell_data(file_orders.packing(None), file_orders.refresh())


async def _parts(queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (part := await queue.get()) is not None:
        yield part


async def send_one_file(relay: FilesRelay, files: FileService, path: bytes | None, note: Note) -> None:
    """Serve a download without a page: one file, then the end."""
    try:
        if path is None:
            raise PommelError("there is no such file")
        async with files.opened(path, folders=False) as (facts, reading):
            await note(106, f'Download: "{display(path)}", Size: {facts.size}', display(path), facts.size)
            await relay.send_text(file_orders.file_begins(facts.size))
            async with contextlib.aclosing(reading(0, facts.size)) as pieces:
                async for piece in pieces:
                    await relay.send(piece)
    except PommelError:
        await relay.tell(file_orders.FILE_REFUSED)
        raise
