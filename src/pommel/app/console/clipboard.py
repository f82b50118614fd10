"""The machine's clipboard for its console's page, over SSH. Band: app.

It has a connection of its own, which begins when a page is open or asks for the clipboard, and ends `IDLE_S` after the
last page. The guest's newest copy is kept in memory, so that a page gets its answer at once. It is never written to a
file.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pommel.app.console.clip_downloads import guest_files, open_guest_file, path_at, paths_in
from pommel.app.console.clip_forms import clip_of, content_of_clip
from pommel.clipboard.content import LIMIT_BYTES, URIS, Content
from pommel.clipboard.engine import ECHO_S
from pommel.clipboard.frames import Copied, Done, Hello
from pommel.clipboard.guest import GuestError, GuestLink, Trouble, guest_link
from pommel.clipboard.images import with_png
from pommel.console.clipboard import Clip, ClipFile, ClipState, Overtaken
from pommel.console.telling import MACHINE, Noun
from pommel.errors import DeadlineError, PommelError
from pommel.tasks import background, first_of

IDLE_S = 60.0
READY_S = 10.0  # for a page, where a person waits: a paste that comes later than that surprises
TAKE_S = 30.0
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 15.0)
REFUSED_S = 60.0


@dataclass(slots=True)
class _Live:
    """A connection: what the guest accepts, its newest copy, and the writes that wait for its answer."""

    link: GuestLink
    hello: Hello
    counts: bool  # whether the guest counts its copies (macOS): then it never reports our write as a new copy
    content: Content | None = None
    given: Content | None = None
    before: Content | None = None  # what it was given before `given`
    given_at: float = float("-inf")
    waiting: dict[int, asyncio.Future[bool]] = field(default_factory=dict)


class MachineClipboard:
    """A ConsoleClipboard (console.clipboard) for the guest whose ssh command is `argv`.

    `key_hint` is the command that copies a key to the guest; `noun` is what the page calls the guest. A request waits
    `ready_s` for the connection.
    """

    def __init__(
        self,
        argv: Callable[[], Sequence[str]],
        *,
        key_hint: str,
        noun: Noun = MACHINE,
        idle_s: float = IDLE_S,
        ready_s: float = READY_S,
        limit: int = LIMIT_BYTES,
    ) -> None:
        self._argv, self._key_hint, self._idle_s, self._limit = argv, key_hint, idle_s, limit
        self._ready_s = ready_s
        self._noun = noun
        self._live: _Live | None = None
        self._last: Content | None = None  # the guest's newest known copy, also from earlier connections
        self._why, self._copies, self._token = "", 0, 0
        self._viewers, self._asking, self._used_at = 0, 0, float("-inf")
        self._failures = 0
        self._news = asyncio.Condition()
        self._wanted, self._asked = asyncio.Event(), asyncio.Event()
        self._setting = asyncio.Lock()

    # --- as the page uses it

    def state(self) -> ClipState:
        """See ConsoleClipboard. Before the first try, the clipboard counts as available."""
        return ClipState(not self._why, self._why, self._copies)

    async def changes(self) -> AsyncGenerator[ClipState, None]:
        """See ConsoleClipboard."""
        self._viewers += 1
        self._wanted.set()
        told: ClipState | None = None
        try:
            while True:
                async with self._news:
                    while self.state() == told:
                        await self._news.wait()
                told = self.state()
                yield told
        finally:
            self._viewers -= 1
            self._used_at = time.monotonic()

    async def get(self) -> Clip:
        """See ConsoleClipboard."""
        with self._use():
            live = await self._ready()
            content, copies = live.content or Content(), self._copies
            if URIS in content.names:
                return clip_of(content, self._noun, await guest_files(self._argv(), paths_in(content)), copies)
            return clip_of(await with_png(content, self._limit), self._noun, copies=copies)

    @contextlib.asynccontextmanager
    async def open_file(self, copies: int, index: int) -> AsyncIterator[tuple[ClipFile, AsyncIterator[bytes]]]:
        """See ConsoleClipboard."""
        with self._use():
            live = await self._ready()
            path = path_at(live.content if copies == self._copies else None, index, self._noun)
            async with open_guest_file(self._argv, path) as opened:
                yield opened

    async def set(self, clip: Clip, seen: int | None = None) -> int:
        """See ConsoleClipboard."""
        with self._use():
            async with self._setting:
                live = await self._ready()
                if seen is not None and self._copies > seen:
                    raise Overtaken(self._noun)
                await self._give(live, content_of_clip(clip, self._noun, live.hello.fitting, self._limit))
                self._copies += 1
                await self._notify_waiters()
                return self._copies

    async def _give(self, live: _Live, content: Content) -> None:
        self._token += 1
        live.before, live.given, live.given_at = live.given, content, time.monotonic()
        taken = live.waiting[self._token] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(TAKE_S):
                await live.link.write(self._token, content)
                if not await taken:
                    raise PommelError(f"the {self._noun}'s clipboard refused it")
        except TimeoutError:
            raise DeadlineError(f"the {self._noun} did not accept it within {TAKE_S:g} s") from None
        finally:
            live.waiting.pop(self._token, None)
        live.content, live.given_at = content, time.monotonic()
        self._last = content

    # --- the connection

    async def run(self) -> None:
        """Keep a connection while a page needs one, until cancelled."""
        in_a_row = 0
        while True:
            await self._wanted.wait()
            self._asked.clear()
            try:
                await self._connection()
                in_a_row = 0
            except PommelError as trouble:
                in_a_row = 0 if not self._why else in_a_row + 1
                refused = isinstance(trouble, GuestError) and trouble.trouble is Trouble.REFUSED
                await self._lost(trouble)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REFUSED_S if refused else BACKOFF_S[min(in_a_row, len(BACKOFF_S) - 1)]):
                        await self._asked.wait()

    async def _connection(self) -> None:
        """Connect, and stay connected until no page needs it any more."""
        async with guest_link(self._argv(), limit=self._limit) as (link, hello):
            self._live = live = _Live(link, hello, hello.kind == "mac")
            try:
                (await first_of(self._hear(live), link.stay_alive(), self._unwanted())).first.result()
            finally:
                self._live = None
                for taken in live.waiting.values():
                    if not taken.done():
                        taken.set_exception(PommelError("the connection to the machine was lost"))

    async def _hear(self, live: _Live) -> None:
        while True:
            message = await live.link.next_message()
            if isinstance(message, Done) and message.token in live.waiting:
                if not (taken := live.waiting[message.token]).done():
                    taken.set_result(message.taken)
            elif isinstance(message, Copied):
                await self._copied(live, message.content)

    async def _copied(self, live: _Live, content: Content) -> None:
        first = live.content is None
        late = live.before if live.waiting and not live.counts else None
        if late is not None and content.digest == late.digest:
            return  # a late report of the earlier write, while the next write is on its way
        if live.given is not None and _is_echo(live, live.given, content):
            live.content = live.given
        else:
            live.content = content
            live.given = live.given if live.waiting else None  # if the same content comes again, a person copied it
            # The first report of a connection counts as a new copy only if it differs from the newest known one.
            unheard = self._last is not None and self._last.digest != content.digest
            self._copies += unheard if first else 1
        self._last = live.content
        self._why = ""
        await self._notify_waiters()

    async def _unwanted(self) -> None:
        while self._viewers or self._asking or time.monotonic() - self._used_at < self._idle_s:  # noqa: ASYNC110
            await asyncio.sleep(min(1.0, self._idle_s))  # polled: the end of the idle time has no event
        self._wanted.clear()

    async def _lost(self, trouble: PommelError) -> None:
        said, hint = trouble.message, trouble.hint
        if isinstance(trouble, GuestError):
            hint = f"type: {self._key_hint}" if trouble.keys else hint
            said = "the machine does not answer SSH (yet)" if trouble.trouble is Trouble.UNREACHABLE else said
        self._why = said + (f" ({hint})" if hint else "")
        self._failures += 1
        if not self._viewers:
            self._wanted.clear()
        await self._notify_waiters()

    async def _notify_waiters(self) -> None:
        async with self._news:
            self._news.notify_all()

    @contextlib.contextmanager
    def _use(self) -> Iterator[None]:
        self._asking += 1
        self._wanted.set()
        self._asked.set()
        try:
            yield
        finally:
            self._asking -= 1
            self._used_at = time.monotonic()

    async def _ready(self) -> _Live:
        """The connection, as soon as it exists and the guest has reported its clipboard."""
        failures = self._failures
        try:
            async with asyncio.timeout(self._ready_s), self._news:
                await self._news.wait_for(lambda: self._heard() or self._failures != failures)
        except TimeoutError:
            raise DeadlineError(self._why or f"the machine did not answer SSH in {self._ready_s:g} s") from None
        if self._live is None or not self._heard():
            raise PommelError(self._why)
        return self._live

    def _heard(self) -> bool:
        return self._live is not None and self._live.content is not None


def _is_echo(live: _Live, given: Content, content: Content) -> bool:
    """Whether a report of the guest is our own write, or a clipboard manager's copy of it, and not a new copy."""
    recent = bool(live.waiting) or time.monotonic() - live.given_at < ECHO_S
    if content.digest == given.digest:
        return not live.counts
    return recent and content.within(given)


@contextlib.asynccontextmanager
async def machine_clipboard(
    argv: Callable[[], Sequence[str]], *, key_hint: str, noun: Noun = MACHINE, ready_s: float = READY_S
) -> AsyncIterator[MachineClipboard]:
    """Provide a machine's clipboard during the block."""
    clipboard = MachineClipboard(argv, key_hint=key_hint, noun=noun, ready_s=ready_s)
    async with background(clipboard.run()) as (running,):
        yield clipboard
    if not running.cancelled():
        running.result()  # it never ends without an error, which is raised here
