"""The machine's clipboard over HTTP, and word of its changes to the pages. Band: shell.

A clip travels as multipart/form-data, each form a file part of its exact bytes (browsers read and write that without
copies in base64); of files, a part `files` has names and sizes, and each is downloaded for itself. It is never
logged, never written to a file, and refused whole where it is too large or not right.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import traceback
import warnings
from collections.abc import Awaitable, Coroutine
from dataclasses import asdict
from typing import Any, TypeVar
from urllib.parse import quote

from aiohttp import BadContentDispositionHeader, BadContentDispositionParam, BodyPartReader, MultipartWriter, web
from aiohttp.http_exceptions import BadHttpMessage

from pommel.console import guard
from pommel.console.clipboard import LIMIT_BYTES, Clip, ClipState, ConsoleClipboard, Overtaken
from pommel.errors import PommelError, UsageError
from pommel.wire.control import control
from pommel.wire.viewer import ViewerStream

_FORMS = ("text", "html", "png")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_COPIES = "Pommel-Copies"
_CHUNK_BYTES = 1 << 18
_CHUNK_S = 30.0  # a browser that sends nothing for as long has gone

_T = TypeVar("_T")
# What aiohttp's reader raises when it is given nonsense.
_MALFORMED = (ValueError, RuntimeError, AssertionError, AttributeError, BadHttpMessage)

log = logging.getLogger(__name__)


class ClipTooLarge(UsageError):
    """A clip is over the limit."""

    def __init__(self, size: int | None = None) -> None:
        told = f"{size / 2**20:.1f} MiB" if size else "too large"
        super().__init__(f"the clip is {told}; the limit is {LIMIT_BYTES >> 20} MiB")


class ClipboardApi:
    """Answer GET and PUT for one machine's clipboard, and tell viewers how it is."""

    def __init__(self, clipboard: ConsoleClipboard) -> None:
        self._clipboard = clipboard
        self._setting = asyncio.Lock()

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer what the machine's clipboard has; 204 if it is empty, and only then."""
        return await _explained(request, self._get())

    async def put(self, request: web.Request) -> web.StreamResponse:
        """Put what the browser sent on the machine's clipboard; the answer comes when it is there, and has its number.

        With `?seen=N`, only if there have been no more copies than N: 409 else.
        """
        return await _explained(request, self._put(request))

    async def get_file(self, request: web.Request) -> web.StreamResponse:
        """Send one of the files that the machine's clipboard names, for the browser to keep."""
        return await _explained(request, self._get_file(request))

    async def tell(self, viewer: ViewerStream) -> None:
        """Tell a viewer how the clipboard is, now and at each change, until cancelled or it has left."""
        with contextlib.suppress(ConnectionError):
            try:
                async with contextlib.aclosing(self._clipboard.changes()) as changes:
                    async for state in changes:
                        await viewer.send_text(_told(state))
            except PommelError as failure:
                await viewer.send_text(_told(ClipState(False, _words(failure))))
            except ConnectionError:
                raise
            except Exception as bug:
                _log_without_words(bug)
                await viewer.send_text(
                    _told(ClipState(False, "the clipboard failed; for details, see the console's log"))
                )

    async def _get(self) -> web.StreamResponse:
        clip = await self._clipboard.get()
        forms = clip.forms
        if clip.files:
            told = {"copies": clip.copies, "files": [asdict(file) for file in clip.files]}
            forms = (*forms, ("files", json.dumps(told).encode()))
        if not forms:
            return web.Response(status=204)
        size = sum(len(data) for _, data in forms)
        if size > LIMIT_BYTES:
            raise ClipTooLarge(size)
        body = MultipartWriter("form-data")
        for name, data in forms:
            part = body.append(io.BytesIO(data), {"Content-Type": "application/octet-stream"})
            part.set_content_disposition("form-data", name=name, filename=name)
        return web.Response(body=body)

    async def _put(self, request: web.Request) -> web.StreamResponse:
        seen = request.query.get("seen")
        if seen is not None and not (seen.isascii() and seen.isdigit() and len(seen) < 16):
            raise UsageError("seen is a number of copies")
        clip = await clip_of(request)
        async with self._setting:  # two pages that paste at once: one after the other
            copies = await self._clipboard.set(clip, None if seen is None else int(seen))
        return web.Response(status=204, headers={_COPIES: str(copies)})

    async def _get_file(self, request: web.Request) -> web.StreamResponse:
        copies, index = (int(request.match_info[name]) for name in ("copies", "index"))
        async with self._clipboard.open_file(copies, index) as (file, pieces):
            # Never shown in the page's place, whatever it is: what the machine made must not act in the page's name.
            headers = {"Content-Type": "application/octet-stream", "Content-Security-Policy": "sandbox"}
            answer = web.StreamResponse(headers=headers)
            name = quote(file.name, safe="")
            answer.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
            answer.content_length = file.size
            await answer.prepare(request)
            left = file.size
            with contextlib.suppress(PommelError, OSError):
                async for piece in pieces:
                    await answer.write(piece)
                    left -= len(piece)
            # It has begun, so no words can be said any more; a browser tells of what is shorter than was announced.
            if left and request.transport is not None:
                request.transport.abort()
        return answer


async def clip_of(request: web.Request) -> Clip:
    """Read a clip from a request's body, in memory.

    Raises:
        TooLarge: it has more bytes than are copied.
        UsageError: it is no clip.
    """
    if request.content_type != "multipart/form-data":
        raise UsageError("a clip comes as multipart/form-data")
    try:
        forms = await _forms_of(request)
    except _MALFORMED as malformed:
        raise UsageError("the clip's multipart/form-data is malformed") from malformed
    if not forms:
        raise UsageError("the clip has no form: text, html or png")
    if "png" in forms and not forms["png"].startswith(_PNG_MAGIC):
        raise UsageError("the clip's png is not a PNG")
    return Clip(_text(forms, "text"), _text(forms, "html"), forms.get("png"))


async def _forms_of(request: web.Request) -> dict[str, bytes]:
    # aiohttp warns of a header that it cannot read in the sender's words: they fill the log, and Python keeps each.
    for warning in (BadContentDispositionHeader, BadContentDispositionParam):
        warnings.filterwarnings("ignore", category=warning)
    forms: dict[str, bytes] = {}
    left = LIMIT_BYTES
    reader = await request.multipart()
    while (part := await _timely(reader.next())) is not None:
        if not isinstance(part, BodyPartReader) or part.name not in _FORMS or part.name in forms:
            raise UsageError(f"a clip's forms are {', '.join(_FORMS)}, each at most once")
        forms[part.name] = await _read(part, left)
        left -= len(forms[part.name])
    return {name: data for name, data in forms.items() if data}


async def _read(part: BodyPartReader, most: int) -> bytes:
    data = bytearray()
    while chunk := await _timely(part.read_chunk(_CHUNK_BYTES)):
        data += chunk
        if len(data) > most:
            raise ClipTooLarge
    return bytes(data)


async def _timely(reading: Awaitable[_T]) -> _T:
    async with asyncio.timeout(_CHUNK_S):
        return await reading


def _text(forms: dict[str, bytes], name: str) -> str | None:
    try:
        return forms[name].decode() if name in forms else None
    except UnicodeDecodeError:
        raise UsageError(f"the clip's {name} is not UTF-8") from None


async def _explained(request: web.Request, answering: Coroutine[Any, Any, web.StreamResponse]) -> web.StreamResponse:
    """Turn what can fail into an answer with words."""
    if not guard.is_our_site(request.headers.get("Sec-Fetch-Site")):
        answering.close()
        return _refusal(403, UsageError("another site's page asked for the clipboard; only the console's own may"))
    try:
        return await answering
    except ClipTooLarge as failure:
        return _refusal(413, failure)
    except Overtaken as failure:
        return _refusal(409, failure)
    except UsageError as failure:
        return _refusal(400, failure)
    except PommelError as failure:
        return _refusal(503, failure)
    except TimeoutError:
        return _refusal(408, UsageError(f"no data of the clip arrived for {_CHUNK_S:g} s"))
    except ConnectionError:
        return web.Response(status=400)  # the browser has left; nobody hears it
    except Exception as bug:
        _log_without_words(bug)
        return _refusal(500, PommelError("the clipboard failed; for details, see the console's log"))


def _refusal(status: int, failure: PommelError) -> web.Response:
    return web.json_response({"error": failure.message, "hint": failure.hint}, status=status)


def _told(state: ClipState) -> str:
    return control({"type": "clipboard", **state._asdict()})


def _words(failure: PommelError) -> str:
    return f"{failure.message}: {failure.hint}" if failure.hint else failure.message


def _log_without_words(bug: Exception) -> None:
    # A bug's own words, and its causes', may quote the clip.
    where = "".join(traceback.format_tb(bug.__traceback__))
    log.error("the clipboard failed: %s\n%s", type(bug).__name__, where)
