"""The clipboard of a desktop of this host, for the page that shows it. Band: app.

No connection and no guest: the page's copies are put on the very clipboard that the session's programs use.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from pommel.app.clip_forms import clip_of, content_of_clip
from pommel.clipboard.content import LIMIT_BYTES, PORTABLE, Content
from pommel.clipboard.host import Desktop, HostClipboard, HostGone, host_clipboard
from pommel.clipboard.images import with_png
from pommel.console.clipboard import Clip, ClipState
from pommel.errors import StateError

_TRIES = 5


class DesktopClipboard:
    """A ConsoleClipboard (console.clipboard) over a desktop's own clipboard."""

    def __init__(self, host: HostClipboard) -> None:
        self._host = host
        self._content: Content | None = None
        self._sequence = 0
        self._why, self._copies = "", 0
        self._news = asyncio.Condition()

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
        self._check()
        return clip_of(await asyncio.to_thread(with_png, self._content or Content(), LIMIT_BYTES))

    async def set(self, clip: Clip) -> None:
        """See ConsoleClipboard."""
        content = content_of_clip(clip, self._host.forms & PORTABLE)
        for _ in range(_TRIES):
            self._check()
            before = self._sequence
            if await self._host.write(content, before):
                self._content = content
                return
            async with self._news:  # somebody copied at this very moment; who pastes wants his own all the same
                await self._news.wait_for(lambda before=before: self._sequence != before or self._why)  # type: ignore[misc]
        raise StateError("the desktop's clipboard is being changed all the time", hint="try again")

    async def run(self) -> None:
        """Follow the desktop's copies until cancelled, or until there is no desktop any more."""
        with contextlib.suppress(HostGone):
            while True:
                change = await self._host.next_change()
                first = self._content is None
                self._content, self._sequence = change.content, change.sequence
                await self._tell(copies=self._copies + (not first))
        await self._tell(why="the session has ended")

    async def _tell(self, *, copies: int | None = None, why: str = "") -> None:
        async with self._news:
            self._copies = self._copies if copies is None else copies
            self._why = why
            self._news.notify_all()

    def _check(self) -> None:
        if self._why:
            raise StateError(self._why)


@contextlib.asynccontextmanager
async def desktop_clipboard(display: str) -> AsyncIterator[DesktopClipboard | None]:
    """Have the clipboard of the X server `display` for the time of the block; None where it has none for us."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            host = await stack.enter_async_context(host_clipboard(Desktop("x11", display)))
        except StateError:  # no XFIXES: the page then shows no clipboard
            yield None
            return
        clipboard = DesktopClipboard(host)
        following = asyncio.ensure_future(clipboard.run())
        try:
            yield clipboard
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
