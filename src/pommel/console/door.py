"""Who may use a console, by a link's token or by a pass, and for what. Band: shell.

The rules are functions of strings (`guard`, `passes`, `looking`). This module applies them to requests.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from pommel.console import guard, pages
from pommel.console.looking import may_look
from pommel.console.passes import PLACE, UNUSED_S, Pass, Secrets, is_place, new_place
from pommel.console.telling import Telling
from pommel.console.visitors import Visitor

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admission:
    """The secrets that admit people, and the callables that are told about visitors.

    With `view_only`, all viewers may only look, whichever link they used. `keep` stores `Secrets.document()` for the
    next console (it is called in a thread); `watched` is called when a viewer comes or leaves.
    """

    secrets: Secrets = field(default_factory=Secrets)
    view_only: bool = False
    keep: Callable[[dict[str, object]], None] = lambda _: None
    watched: Callable[[Sequence[Visitor]], None] = lambda _: None


class ConsoleDoor:
    """Decides on requests to the console `name`. `port` is set when the server listens; `tls`: whether it uses TLS."""

    def __init__(self, entry: Admission, name: str, telling: Telling, allowed_hosts: Iterable[str]) -> None:
        self.secrets = entry.secrets
        self.port = 0
        self.tls = False
        self._entry, self._allowed = entry, tuple(allowed_hosts)
        self._no_token = pages.no_token(name, telling.door)
        self._keeping = asyncio.Lock()

    def refusal(self, request: web.BaseRequest) -> web.Response | None:
        """The answer that refuses a request; None: it is admitted. It never waits, and no input makes it fail."""
        if self.tls and not request.secure:
            return notice(400, pages.needs_tls())
        hosts = request.headers.getall("Host", [])
        host = hosts[0] if hosts else None
        if len(hosts) > 1 or (host is not None and not guard.is_host(host)):
            return notice(400, pages.no_host())
        scheme, usual_port = ("https", 443) if self.tls else ("http", 80)
        if not guard.is_our_host(host, self.port, self._allowed, usual_port=usual_port):
            return notice(421, pages.wrong_host(host or "no name", self.port, scheme))
        if not guard.is_our_origin(request.headers.get("Origin"), host):
            return notice(403, pages.wrong_origin())
        view_only = self.views_only(request)
        if view_only is None:
            return notice(403, self._no_token)
        if view_only and not may_look(request.method, request.rel_url.raw_path):
            return notice(403, pages.view_only())
        return None

    def views_only(self, request: web.BaseRequest) -> bool | None:
        """Whether the sender of this request may only look. None: it may do nothing."""
        if given := request.query.get("token"):
            view_only = self.secrets.by_token(given)
        else:
            view_only = found.view_only if (found := self._pass(request)) is not None else None
        return None if view_only is None else view_only or self._entry.view_only

    def _pass(self, request: web.BaseRequest) -> Pass | None:
        given = guard.cookies_named(self._cookie, request.headers.getall("Cookie", []))
        return next(filter(None, (self.secrets.by_pass(one, time.time()) for one in given)), None)

    async def note_use(self, request: web.BaseRequest) -> None:
        """Note the use of the pass of a request, so that it does not expire."""
        if (found := self._pass(request)) is not None and self.secrets.use(found, time.time()):
            await self.write_down()

    async def let_in(self, request: web.Request) -> web.Response:
        """Exchange the token in the address for a pass, and remove the token from the address.

        There are two redirects: the first to a new secret path, the second there, with the cookie: the browser limits
        the cookie to the path that it knows. All addresses are relative, because a reverse proxy may add a prefix.
        """
        place = request.match_info.get("place", "")
        if not is_place(place):
            away = "../../" if place else ""
            return _send_on(request, f"{away}{PLACE[1:].format(place=new_place())}/?{request.query_string}")
        view_only = self.secrets.by_token(request.query.get("token"))
        if view_only is None:  # the token was renewed while this request was handled
            return notice(403, self._no_token)
        secret, _ = self.secrets.issue(view_only=view_only, now_s=time.time(), place=place)
        await self.write_down()
        response = _send_on(request, "./")
        self._give(request, response, secret)
        return response

    def keep_in(self, request: web.Request, response: web.Response) -> None:
        """Set the browser's cookie again, so that it lasts as long as its pass.

        An installed page has only this cookie, also after a restart of the browser.
        """
        for secret in guard.cookies_named(self._cookie, request.headers.getall("Cookie", [])):
            if self.secrets.by_pass(secret, time.time()) is not None:
                self._give(request, response, secret)
                return

    def _give(self, request: web.Request, response: web.Response, secret: str) -> None:
        is_tls = request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
        response.set_cookie(
            self._cookie, secret, max_age=int(UNUSED_S), httponly=True, samesite="Strict", secure=is_tls, path=""
        )

    async def renew(self) -> None:
        """Make new tokens; all present links and passes end.

        Raises:
            OSError: they cannot be written to the file; then nothing has changed.
        """
        async with self._keeping:
            before, self.secrets = self.secrets, Secrets()
            try:
                await self._keep()
            except BaseException:
                self.secrets = before
                raise

    async def write_down(self) -> None:
        """Store the secrets for the next console. An error, such as a full disk, is only a warning."""
        try:
            async with self._keeping:
                await self._keep()
        except OSError as failure:
            log.warning(
                "the access of a viewer could not be stored, so the viewer needs the link again later: %s", failure
            )

    async def _keep(self) -> None:
        await asyncio.to_thread(self._entry.keep, self.secrets.document())

    @property
    def _cookie(self) -> str:
        # Cookies do not distinguish ports, so the name has the port: two consoles must not overwrite each other's
        # cookie.
        return f"pommel_{self.port}"


def _send_on(request: web.Request, address: str) -> web.Response:
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        return notice(200, pages.onward(address))
    return web.Response(status=303, headers={"Location": address})


def notice(status: int, html: str) -> web.Response:
    """Answer with one of `pages`; after a refusal the connection is closed."""
    headers = {**pages.HEADERS, "Content-Security-Policy": pages.REFUSAL_CSP}
    answer = web.Response(status=status, text=html, content_type="text/html", headers=headers)
    if status >= 400:
        answer.force_close()
    return answer
