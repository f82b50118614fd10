"""Questions of other processes of this host to the people at the page, and their answers, over HTTP. Band: shell.

Every request needs the token. Bodies are JSON objects:

    POST /api/question  {title, text, timeout_s}     -> {allowed: true | false | null}, after the answer
    POST /api/notice    {title, text, must_close}    -> {pages: number of pages that showed it}
    PUT  /api/bar       {text | null, for_s}         -> {pages}
    POST /api/answer    {id, allowed}                -> {taken}   sent by the page
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from pommel.console.audience import Audience
from pommel.foreign import parse_json

_LONGEST_S = 3600.0


class AudienceApi:
    """The HTTP handlers for one audience."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    def add_to(self, router: web.UrlDispatcher, under: str) -> None:
        """Add the routes below a path."""
        router.add_post(f"{under}/api/question", self._question)
        router.add_post(f"{under}/api/notice", self._notice)
        router.add_put(f"{under}/api/bar", self._bar)
        router.add_post(f"{under}/api/answer", self._answer)

    async def _question(self, request: web.Request) -> web.Response:
        said = await _body(request, title=str, text=str, timeout_s=float)

        def wanted() -> bool:
            return request.transport is not None and not request.transport.is_closing()

        timeout_s = min(max(said["timeout_s"], 0.0), _LONGEST_S)
        allowed = await self._audience.ask(said["title"], said["text"], timeout_s, wanted=wanted)
        return web.json_response({"allowed": allowed})

    async def _notice(self, request: web.Request) -> web.Response:
        said = await _body(request, title=str, text=str, must_close=bool)
        pages = await self._audience.notify(said["title"], said["text"], must_close=said["must_close"])
        return web.json_response({"pages": pages})

    async def _bar(self, request: web.Request) -> web.Response:
        said = await _body(request, text=(str, type(None)), for_s=float)
        await self._audience.show_bar(said["text"], min(max(said["for_s"], 0.0), _LONGEST_S))
        return web.json_response({"pages": self._audience.present})

    async def _answer(self, request: web.Request) -> web.Response:
        said = await _body(request, id=int, allowed=bool)
        return web.json_response({"taken": self._audience.answer(said["id"], allowed=said["allowed"])})


async def _body(request: web.Request, **wanted: Any) -> dict[str, Any]:
    """Read a body, a JSON object with these fields of these types.

    Raises:
        web.HTTPBadRequest: it is not like that.
    """
    try:
        text = await request.text()
    except ValueError:
        raise _refused("the body is not text") from None
    return fields_of(text, wanted)


def fields_of(text: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Read a JSON object with these fields of these types; other fields are ignored.

    Raises:
        web.HTTPBadRequest: a field is missing or has another type.
    """
    try:
        said = parse_json(text)
    except ValueError:
        raise _refused("the body is not JSON") from None
    if not isinstance(said, dict):
        raise _refused("the body is not a JSON object")
    return {key: _field(said.get(key), key, kind) for key, kind in wanted.items()}


def _field(value: Any, key: str, kind: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if (
        not isinstance(value, kind)
        or (isinstance(value, bool) and kind is int)
        or (kind is float and not math.isfinite(value))
    ):
        raise _refused(f"{key} is missing or invalid")
    return value


def _refused(why: str) -> web.HTTPBadRequest:
    text = json.dumps({"error": why, "hint": None})
    return web.HTTPBadRequest(text=text, content_type="application/json")
