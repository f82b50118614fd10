"""The people who have the page open: ask them, tell them something, show them a bar. Band: shell.

It sends control texts beside the pictures, and only to a page that says that it understands them. Answers come back
over HTTP (`audience_api`). Any open page may answer, and the first answer counts. The caller decides who asks, and why.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from pommel.console.stream import tell
from pommel.tasks import start_task
from pommel.wire.viewer import ViewerStream

_LOOK_S = 0.2
_LATE_S = 2.0  # the caller has a clock too and withdraws its question itself: that result differs from no answer
_GONE_S = 5.0  # the time in which a page that is reloaded connects again
MOST_TEXT = 4000


class _Question:
    def __init__(self, number: int, said: dict[str, Any], ends_at: float) -> None:
        self.number, self._text, self._ends_at = number, said, ends_at
        self.allowed: bool | None = None

    @property
    def message(self) -> dict[str, Any]:
        left_s = max(0.0, self._ends_at - time.monotonic())
        return {"type": "question", "id": self.number, **self._text, "left_s": round(left_s, 1)}


class Audience:
    """The open pages of one console."""

    def __init__(self) -> None:
        self._pages: set[ViewerStream] = set()
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._bar: str | None = None
        self._bar_ends: asyncio.TimerHandle | None = None
        self._hiding: asyncio.Future[None] | None = None

    @property
    def present(self) -> int:
        """The number of open pages."""
        return len(self._pages)

    @contextlib.asynccontextmanager
    async def with_page(self, page: ViewerStream) -> AsyncIterator[None]:
        """Count a page as open during the block, and send it what the other pages have been sent."""
        self._pages.add(page)
        try:
            for question in tuple(self._questions.values()):
                await tell(page, question.message)
            if self._bar is not None:
                await tell(page, {"type": "bar", "text": self._bar})
            yield
        finally:
            self._pages.discard(page)

    async def ask(
        self, title: str, text: str, timeout_s: float, *, wanted: Callable[[], bool] = lambda: True
    ) -> bool | None:
        """Ask the people who have a page open to allow or refuse. None: no page is open, or nobody answered.

        The question is withdrawn when this is cancelled or no longer `wanted`. Without an answer it ends with None, a
        little after `timeout_s`.
        """
        if not self._pages:
            return None
        asked = {"title": title[:MOST_TEXT], "text": text[:MOST_TEXT]}
        question = _Question(next(self._numbers), asked, time.monotonic() + timeout_s)
        self._questions[question.number] = question
        try:
            await self._send_to_pages(question.message)
            async with asyncio.timeout(timeout_s + _LATE_S):
                return await self._await_answer(question, wanted)
        except TimeoutError:
            return None
        finally:
            del self._questions[question.number]
            await self._send_to_pages({"type": "answered", "id": question.number})

    def answer(self, number: int, *, allowed: bool) -> bool:
        """Take an answer from a page. False: the question has ended, or was answered before."""
        question = self._questions.get(number)
        if question is None or question.allowed is not None:
            return False
        question.allowed = allowed
        return True

    async def notify(self, title: str, text: str, *, must_close: bool) -> int:
        """Show a text on all open pages; with `must_close` until a person closes it. Return the number of pages."""
        said = {"title": title[:MOST_TEXT], "text": text[:MOST_TEXT], "must_close": must_close}
        return await self._send_to_pages({"type": "notice", **said})

    async def show_bar(self, text: str | None, for_s: float | None = None) -> None:
        """Show a line over the screen on all pages, later ones too, for at most `for_s`. None removes it."""
        if self._bar_ends is not None:
            self._bar_ends.cancel()
            self._bar_ends = None
        if text is not None and for_s is not None:
            self._bar_ends = asyncio.get_running_loop().call_later(for_s, self._hide_bar)
        text = None if text is None else text[:MOST_TEXT]
        if text != self._bar:
            self._bar = text
            await self._send_to_pages({"type": "bar", "text": text})

    async def close(self) -> None:
        """Remove the bar, and cancel its timer."""
        await self.show_bar(None)
        if self._hiding is not None:
            await asyncio.gather(self._hiding, return_exceptions=True)

    def _hide_bar(self) -> None:
        self._bar_ends = None
        self._hiding = start_task(self.show_bar(None))

    async def _await_answer(self, question: _Question, wanted: Callable[[], bool]) -> bool | None:
        """Wait for the answer. None: the caller does not want it any more, or no page has been open for `_GONE_S`."""
        seen_at = time.monotonic()
        while question.allowed is None:
            now = time.monotonic()
            seen_at = now if self._pages else seen_at
            if now - seen_at >= _GONE_S or not wanted():
                return None
            await asyncio.sleep(_LOOK_S)
        return question.allowed

    async def _send_to_pages(self, said: dict[str, Any]) -> int:
        return sum(await asyncio.gather(*(tell(page, said) for page in tuple(self._pages))))
