"""The clipboard of a desktop of this host, for the page that shows this desktop. Band: app.

There is no guest and no connection: the page's copies go to the clipboard that the session's programs use.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from pommel.app.console.clip_downloads import host_files, open_host_file, path_at, paths_in
from pommel.app.console.clip_forms import clip_of, content_of_clip
from pommel.clipboard.content import CONVERTED, LIMIT_BYTES, PORTABLE, URIS, Content
from pommel.clipboard.host import Desktop, HostClipboard, HostGone, host_clipboard
from pommel.clipboard.images import with_png
from pommel.console.clipboard import Clip, ClipFile, ClipState, Overtaken
from pommel.console.telling import SESSION
from pommel.errors import DeadlineError, NotPermitted, StateError
from pommel.tasks import background, start_task

_TRIES = 5
_FETCH_S = 30.0


class DesktopClipboard:
    """A ConsoleClipboard (console.clipboard) over a desktop's own clipboard."""

    def __init__(self, host: HostClipboard) -> None:
        self._host = host
        host.on_copy = self._noticed
        self._content: Content | None = None
        # Numbers of the host's copies: the newest known, the newest fetched, the newest replaced by a page's copy.
        self._newest, self._fetched, self._covered = 0, 0, -1
        self._why, self._copies = "", 0
        self._news = asyncio.Condition()
        self._setting = asyncio.Lock()
        self._telling: set[asyncio.Future[None]] = set()

    def state(self) -> ClipState:
        """See ConsoleClipboard."""
        return ClipState(not self._why, self._why, self._copies)

    async def changes(self) -> AsyncGenerator[ClipState, None]:
        """See ConsoleClipboard."""
        told: ClipState | None = None
        while True:
            async with self._news:
                while self.state() == told:
                    await self._news.wait()
            told = self.state()
            yield told

    async def get(self) -> Clip:
        """See ConsoleClipboard."""
        content, copies = await self._present()
        if URIS in content.names:
            return clip_of(content, SESSION, await asyncio.to_thread(host_files, paths_in(content)), copies)
        return clip_of(await with_png(content, LIMIT_BYTES), SESSION, copies=copies)

    @contextlib.asynccontextmanager
    async def open_file(self, copies: int, index: int) -> AsyncIterator[tuple[ClipFile, AsyncIterator[bytes]]]:
        """See ConsoleClipboard."""
        content = self._content if copies == self._copies else None
        async with open_host_file(path_at(content, index, SESSION)) as opened:
            yield opened

    async def set(self, clip: Clip, seen: int | None = None) -> int:
        """See ConsoleClipboard."""
        content = content_of_clip(clip, SESSION, lambda content: content.only(self._host.forms & PORTABLE))
        async with self._setting:
            for _ in range(_TRIES):
                self._check()
                if seen is not None and self._copies > seen:
                    raise Overtaken(SESSION)
                before = self._newest
                if await self._host.write(content, before):
                    self._content, self._covered = content, before
                    self._copies += 1
                    await self._notify_waiters()
                    return self._copies
                # a program copied at the same moment; the person at the page still wants to paste
                async with self._news:
                    await self._news.wait_for(lambda before=before: self._newest != before or self._why)  # type: ignore[misc]
        raise StateError(f"the {SESSION}'s clipboard changes all the time", hint="try again")

    async def run(self) -> None:
        """Fetch the desktop's copies until cancelled, or until the desktop ends."""
        with contextlib.suppress(HostGone):
            while True:
                change = await self._host.next_change()
                if change.sequence > self._covered:
                    self._content, self._fetched = change.content, change.sequence
                    await self._notify_waiters()
        self._why = "the session has ended"
        await self._notify_waiters()

    def _noticed(self, sequence: int) -> None:
        """Count a new copy, whose content is not fetched yet: from now on it is the newest."""
        self._newest = sequence
        self._copies += 1
        telling = start_task(self._notify_waiters())
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _present(self) -> tuple[Content, int]:
        """The newest copy and its number, once it is fetched."""
        try:
            async with asyncio.timeout(_FETCH_S), self._news:
                await self._news.wait_for(lambda: self._why or self._known)
        except TimeoutError:
            raise DeadlineError(f"the program that copied did not send the content within {_FETCH_S:g} s") from None
        self._check()
        return self._content or Content(), self._copies

    @property
    def _known(self) -> bool:
        return self._content is not None and max(self._fetched, self._covered) >= self._newest

    async def _notify_waiters(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _check(self) -> None:
        if self._why:
            raise StateError(self._why)


@contextlib.asynccontextmanager
async def desktop_clipboard(display: str) -> AsyncIterator[DesktopClipboard | None]:
    """Provide the clipboard of the X server `display` during the block; None: it cannot be used."""
    async with contextlib.AsyncExitStack() as stack:
        forms = PORTABLE | CONVERTED | {URIS}
        try:
            host = await stack.enter_async_context(host_clipboard(Desktop("x11", display), forms=forms))
        except (StateError, NotPermitted):  # no XFIXES, or no access: the page shows no clipboard
            yield None
            return
        clipboard = DesktopClipboard(host)
        async with background(clipboard.run()):
            yield clipboard
