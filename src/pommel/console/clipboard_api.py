"""The machine's clipboard over HTTP, and messages to the pages when it changes. Band: shell.

A clip is sent as multipart/form-data. Each form is a file part with its exact bytes, because browsers read and write
that without a copy in base64. For files, the part `files` has names and sizes, and each file is downloaded separately.
A clip is never logged and never written to a file. If it is too large or malformed, all of it is refused.
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
_CHUNK_S = 30.0  # a browser that sends nothing for this time has gone

_T = TypeVar("_T")
# The exceptions of aiohttp's multipart reader for malformed bodies.
_MALFORMED = (ValueError, RuntimeError, AssertionError, AttributeError, BadHttpMessage)

log = logging.getLogger(__name__)


class ClipTooLarge(UsageError):
    """A clip is over the limit."""

    def __init__(self, size: int | None = None) -> None:
        told = f"{size / 2**20:.1f} MiB" if size else "too large"
        super().__init__(f"the clip is {told}; the limit is {LIMIT_BYTES >> 20} MiB")


class ClipboardApi:
    """The HTTP handlers for one machine's clipboard, and the messages about its state to viewers."""

    def __init__(self, clipboard: ConsoleClipboard) -> None:
        self._clipboard = clipboard
        self._setting = asyncio.Lock()

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer with the machine's clipboard; 204 only if it is empty."""
        return await _explained(request, self._get())

    async def put(self, request: web.Request) -> web.StreamResponse:
        """Put the browser's clip on the machine's clipboard; the answer comes when it is there, with its number.

        With `?seen=N`, the answer is 409 if there have been more copies than N.
        """
        return await _explained(request, self._put(request))

    async def get_file(self, request: web.Request) -> web.StreamResponse:
        """Send one of the files on the machine's clipboard as a download."""
        return await _explained(request, self._get_file(request))

    async def tell(self, viewer: ViewerStream) -> None:
        """Send a viewer the state of the clipboard, now and at each change, until it leaves or this is cancelled."""
        with contextlib.suppress(ConnectionError):
            try:
                async with contextlib.aclosing(self._clipboard.changes()) as changes:
                    async for state in changes:
                        await viewer.send_text(_state_message(state))
            except PommelError as failure:
                await viewer.send_text(_state_message(ClipState(False, _words(failure))))
            except ConnectionError:
                raise
            except Exception as bug:
                _log_without_words(bug)
                await viewer.send_text(
                    _state_message(ClipState(False, "the clipboard failed; for details, see the console's log"))
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
            raise UsageError("seen must be a number of copies")
        clip = await clip_of(request)
        async with self._setting:  # if two pages paste at once, their clips must not be mixed
            copies = await self._clipboard.set(clip, None if seen is None else int(seen))
        return web.Response(status=204, headers={_COPIES: str(copies)})

    async def _get_file(self, request: web.Request) -> web.StreamResponse:
        copies, index = (int(request.match_info[name]) for name in ("copies", "index"))
        async with self._clipboard.open_file(copies, index) as (file, pieces):
            # Always a download: if the browser showed a file of the guest, its scripts would run with the
            # page's rights.
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
            # The answer has begun, so no error text can follow. The browser reports a body that is
            # shorter than announced.
            if left and request.transport is not None:
                request.transport.abort()
        return answer


async def clip_of(request: web.Request) -> Clip:
    """Read a clip from a request's body, in memory.

    Raises:
        ClipTooLarge: it is over the limit.
        UsageError: it is not a clip.
    """
    if request.content_type != "multipart/form-data":
        raise UsageError("a clip must be multipart/form-data")
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
    # aiohttp's warnings about bad headers quote the sender's text. So a client could fill the log, and Python stores
    # each different warning for ever.
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
    """Turn each error into an answer with a text."""
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
        return web.Response(status=400)  # the browser has left, so nobody gets this answer
    except Exception as bug:
        _log_without_words(bug)
        return _refusal(500, PommelError("the clipboard failed; for details, see the console's log"))


def _refusal(status: int, failure: PommelError) -> web.Response:
    return web.json_response({"error": failure.message, "hint": failure.hint}, status=status)


def _state_message(state: ClipState) -> str:
    return control({"type": "clipboard", **state._asdict()})


def _words(failure: PommelError) -> str:
    return f"{failure.message}: {failure.hint}" if failure.hint else failure.message


def _log_without_words(bug: Exception) -> None:
    # Only the places in the code: the message of an exception, and of its causes, may quote the clip.
    where = "".join(traceback.format_tb(bug.__traceback__))
    log.error("the clipboard failed: %s\n%s", type(bug).__name__, where)
