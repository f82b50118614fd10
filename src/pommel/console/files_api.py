"""The machine's files over HTTP, for the page. Band: shell.

A path is a field of the query, as percent-encoded bytes (`sftp.spelling`). Every request needs the full link's token or
pass, so a view-only viewer gets none of it.

    GET  api/files/list?path=P                          the entries of a folder, as JSON
    GET  api/files/check?path=P                         whether it can be downloaded
    GET  api/files/content?path=P                       a file, with Range; a folder as a tar archive
    POST api/files/folder?path=P[&exists=ok]            make a folder
    POST api/files/rename?path=P&to=P
    POST api/files/remove?path=P
    POST api/files/begin?UPLOAD[&replace=yes]           -> {offset}: where to go on
    PUT  api/files/piece?UPLOAD&at=N                    bytes at this offset -> {offset}
    POST api/files/finish?UPLOAD[&replace=yes]          give it its name
    POST api/files/discard?UPLOAD                       delete what is there of it

UPLOAD is path=P&size=N&mtime=N. An error is JSON: error, hint, and what the page needs to go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web

from pommel.console import guard
from pommel.console.audience import Audience
from pommel.console.deeds import Deeds
from pommel.console.files_query import FilesQuery
from pommel.console.visitors import name_of
from pommel.errors import MissingProgram, PommelError, StateError, UsageError
from pommel.sftp import codec
from pommel.sftp.browsing import (
    AlreadyThere,
    DiskFull,
    FileFacts,
    FolderListing,
    NotThere,
    OtherOffset,
    UploadBusy,
)
from pommel.sftp.service import FileService
from pommel.sftp.session import FileRefused, SessionLost
from pommel.sftp.spelling import display, entry_in, parent, path_in, spelled
from pommel.sftp.spelling import name_of as last_of
from pommel.sftp.tree import FilesError
from pommel.tasks import start_task

PIECE_MAX = 64 << 20
_CHUNK_S = 30.0  # a browser that sends nothing for this time has gone

log = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class SharedFiles:
    """The files, and what gets a sentence about each thing that viewers did with them, for a log."""

    service: FileService
    told: Callable[[str], None] = lambda _: None


class FilesApi:
    """The HTTP handlers for the files of one machine or session. All pages of `audience` are told what was done."""

    def __init__(self, files: SharedFiles, audience: Audience) -> None:
        self._files, self._told, self._audience = files.service, files.told, audience
        self._deeds = Deeds(self._say)
        self._saying: set[asyncio.Task[int]] = set()

    async def close(self) -> None:
        """Tell what has not been told yet."""
        self._deeds.close()
        await asyncio.gather(*self._saying)

    def add_to(self, router: web.UrlDispatcher, under: str) -> None:
        """Add the routes below a path."""
        router.add_get(f"{under}/api/files/list", self._explained(self._list), allow_head=False)
        router.add_get(f"{under}/api/files/content", self._explained(self._content), allow_head=False)
        router.add_get(f"{under}/api/files/check", self._explained(self._check), allow_head=False)
        router.add_put(f"{under}/api/files/piece", self._explained(self._piece))
        for name, handler in (
            ("folder", self._folder),
            ("rename", self._rename),
            ("remove", self._remove),
            ("begin", self._begin),
            ("finish", self._finish),
            ("discard", self._discard),
        ):
            router.add_post(f"{under}/api/files/{name}", self._explained(handler))

    # --- folders

    async def _list(self, request: web.Request) -> web.StreamResponse:
        found = await self._files.listing(path_in(_query_of(request).one("path")))
        # In a thread: a large folder takes long, and would stop the page's pictures.
        text = await asyncio.to_thread(_listing_text, found)
        return web.Response(text=text, content_type="application/json")

    async def _folder(self, request: web.Request) -> web.StreamResponse:
        asked = _query_of(request)
        path = entry_in(asked.one("path"))
        await self._files.make_folder(path, may_exist=asked.has("exists", "ok"))
        self._note(request, "made", path)
        return web.json_response({})

    async def _rename(self, request: web.Request) -> web.StreamResponse:
        asked = _query_of(request)
        old, new = entry_in(asked.one("path")), entry_in(asked.one("to"))
        await self._files.rename(old, new)
        self._note(request, "renamed", old, to=new)
        return web.json_response({})

    async def _remove(self, request: web.Request) -> web.StreamResponse:
        path = entry_in(_query_of(request).one("path"))
        await self._files.remove([path])
        self._note(request, "deleted", path)
        return web.json_response({})

    # --- to the machine

    async def _begin(self, request: web.Request) -> web.StreamResponse:
        asked = _query_of(request)
        return web.json_response({"offset": await self._files.begin(asked.upload(), replace=asked.replaces)})

    async def _piece(self, request: web.Request) -> web.StreamResponse:
        asked = _query_of(request)
        if request.content_length is None or request.content_length > PIECE_MAX:
            raise UsageError(f"a piece has a Content-Length of at most {PIECE_MAX >> 20} MiB")
        offset = await self._files.receive(asked.upload(), asked.number("at"), _body(request))
        return web.json_response({"offset": offset})

    async def _finish(self, request: web.Request) -> web.StreamResponse:
        asked = _query_of(request)
        upload = asked.upload()
        await self._files.finish(upload, replace=asked.replaces)
        self._note(request, "uploaded", upload.path, upload.size)
        return web.json_response({})

    async def _discard(self, request: web.Request) -> web.StreamResponse:
        await self._files.discard(_query_of(request).upload())
        return web.json_response({})

    # --- from the machine

    async def _check(self, request: web.Request) -> web.StreamResponse:
        async with self._files.opened(path_in(_query_of(request).one("path"))) as (facts, _):
            return web.json_response({"size": facts.size})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        path = path_in(_query_of(request).one("path"))
        async with self._files.opened(path) as (facts, reading):
            answer, start, end = _begun(request, facts)
            if answer.status != 416:
                await answer.prepare(request)
                await _send(request, answer, reading(start, end), end - start)
                # A browser that goes on with an interrupted download asks for the rest.
                if start == 0:
                    self._note(request, "downloaded", path, facts.size)
        return answer

    def _note(self, request: web.Request, verb: str, path: bytes, size: int = 0, *, to: bytes | None = None) -> None:
        who = f"{name_of(request.headers.get('User-Agent'))} ({request.remote or 'unknown'})"
        name = display(last_of(path)) or "/"
        if to is not None:
            name += f" to {display(last_of(to) if parent(to) == parent(path) else to)}"
        self._deeds.note(who, verb, name, display(parent(path)), size)

    def _say(self, sentence: str) -> None:
        self._told(sentence)
        saying = start_task(self._audience.notify("", sentence, must_close=False))
        self._saying.add(saying)
        saying.add_done_callback(self._saying.discard)

    def _explained(self, handler: _Handler) -> _Handler:
        """Turn each error into an answer with a text."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if not guard.is_our_site(request.headers.get("Sec-Fetch-Site")):
                return _refusal(403, UsageError("another site's page asked for files; only the console's own may"))
            try:
                return await handler(request)
            except PommelError as failure:
                return _refusal(_status(failure), failure, **_more(failure))
            except TimeoutError:
                return _refusal(408, UsageError(f"no data arrived for {_CHUNK_S:g} s"))
            except ConnectionError:
                return web.Response(status=400)  # the browser has left, so nobody gets this answer
            except web.HTTPException:
                raise
            except Exception:
                log.exception("the files failed")
                return _refusal(500, PommelError("this failed; for details, see the console's log"))

        return answer


def _query_of(request: web.Request) -> FilesQuery:
    """The query of a request. It is not read by aiohttp, which decodes what must stay encoded."""
    return FilesQuery(request.rel_url.raw_query_string)


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(_CHUNK_S):
            chunk = await request.content.readany()
        if not chunk:
            return
        yield chunk


def _begun(request: web.Request, facts: FileFacts) -> tuple[web.StreamResponse, int, int]:
    """The head of an answer with a file, and the part of the file that it has: from an offset to another."""
    answer = web.StreamResponse()
    name = quote(display(facts.name) + (".tar" if facts.folder else ""), safe="")
    # Always a download: if the browser showed a file of the guest, its scripts would run with the page's rights.
    answer.headers.update(
        {
            "Content-Type": "application/octet-stream",
            "Content-Security-Policy": "sandbox",
            "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        }
    )
    start, end = 0, facts.size
    if not facts.folder:
        answer.headers.update({"Accept-Ranges": "bytes", "ETag": f'"{facts.mark}"'})
        if request.headers.get("If-Range") in (None, f'"{facts.mark}"') and "Range" in request.headers:
            start, end = _range(request, answer, facts.size)
    answer.content_length = end - start
    return answer, start, end


def _range(request: web.Request, answer: web.StreamResponse, size: int) -> tuple[int, int]:
    """Answer one range of bytes (RFC 9110, 14.2); any other header is ignored, as it may be."""
    try:
        start, end, _ = request.http_range.indices(size)
    except ValueError:
        return 0, size
    if start >= end:
        answer.set_status(416)
        answer.headers["Content-Range"] = f"bytes */{size}"
        return 0, 0
    answer.set_status(206)
    answer.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return start, end


async def _send(request: web.Request, answer: web.StreamResponse, pieces: Any, left: int) -> None:
    with contextlib.suppress(PommelError, OSError):
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                await answer.write(piece)
                left -= len(piece)
    # The answer has begun, so no error text can follow. The browser reports a body that is shorter than announced.
    if left and request.transport is not None:
        request.transport.abort()


def _listing_text(found: FolderListing) -> str:
    entries = [
        {
            "name": spelled(one.name),
            "shown": display(one.name),
            "kind": one.kind,
            "leads": one.leads,
            "size": one.size,
            "mtime": one.mtime,
        }
        for one in found.entries
    ]
    space = {"free": found.space.free, "total": found.space.total} if found.space is not None else None
    told = {"path": spelled(found.path), "shown": display(found.path), "entries": entries}
    return json.dumps({**told, "more": found.more, "space": space})


def _status(failure: PommelError) -> int:
    if isinstance(failure, FileRefused):
        return {codec.NO_SUCH_FILE: 404, codec.PERMISSION_DENIED: 403}.get(failure.code, 422)
    for kind, status in (  # the first that fits
        (NotThere, 404), (AlreadyThere, 409), (OtherOffset, 409), (UploadBusy, 409), (DiskFull, 507), (UsageError, 400),
        (SessionLost, 503), (FilesError, 422), (MissingProgram, 422), (StateError, 422),
    ):  # fmt: skip
        if isinstance(failure, kind):
            return status
    return 503  # it cannot be reached, so the page tries again


def _more(failure: PommelError) -> dict[str, object]:
    """What the page needs to go on after an error."""
    match failure:
        case AlreadyThere():
            return {"there": True, "replaceable": failure.replaceable}
        case OtherOffset():
            return {"offset": failure.offset}
        case UploadBusy():
            return {"busy": True}
        case DiskFull():
            return {"full": True, "free": failure.free}
    return {}


def _refusal(status: int, failure: PommelError, **more: object) -> web.Response:
    return web.json_response({"error": failure.message, "hint": failure.hint, **more}, status=status)
