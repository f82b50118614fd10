"""An X11 session's clipboard: told of by XFIXES, fetched and served as selections. Band: shell.

One thread owns the connection (python-xlib blocks) and sleeps until the X server, our loop or a deadline wakes it.
What it is asked to do comes through a queue, what it finds goes back through `call_soon_threadsafe`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from Xlib import X, Xatom
from Xlib.display import Display
from Xlib.error import ConnectionClosedError, DisplayError, XError
from Xlib.ext import xfixes
from Xlib.protocol.request import SetSelectionOwner

from pommel import x11_wait
from pommel.clipboard.content import EMPTY, URIS, Content, Held
from pommel.clipboard.host import HostCopy, HostGone, WhenAsked
from pommel.clipboard.x11_fetch import Fetch, fetch
from pommel.clipboard.x11_offer import Ownership
from pommel.clipboard.x11_owner import is_roots
from pommel.errors import StateError

# How long an owner may take for each step of handing over its copy.
_STEP_S = 5.0
_JOIN_S = 2.0
_CLOCK = "POMMEL_CLOCK"


@dataclass(slots=True)
class _Order:
    """A write that is to be done; `done` is called once with what became of it, `ask` when somebody pastes."""

    content: Content
    expected: int
    done: Callable[[bool], None]
    ask: Callable[[], None] | None = None


class X11Clipboard:
    """A HostClipboard over an X11 selection."""

    forms: frozenset[str]
    lazy = True

    def __init__(self, desk: _Desk, forms: frozenset[str]) -> None:
        self.name = f"X11 {desk.name}"
        self.forms = forms
        self.on_copy: Callable[[int], None] = lambda _: None
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._change: HostCopy | None = None
        self._news = asyncio.Event()
        self._ended: str | None = None
        self._orders: set[asyncio.Future[bool]] = set()

    async def next_change(self) -> HostCopy:
        """See HostClipboard."""
        await self._news.wait()
        if self._change is None:
            raise HostGone(f"the X server is gone: {self._ended}")
        change, self._change = self._change, None
        if self._ended is None:
            self._news.clear()
        return change

    async def write(self, content: Content, expected: int, *, when_asked: WhenAsked | None = None) -> bool:
        """See HostClipboard."""
        if self._ended is not None:
            raise HostGone(f"the X server is gone: {self._ended}")
        result: asyncio.Future[bool] = self._loop.create_future()
        self._orders.add(result)
        try:
            ask = self._asking(when_asked) if when_asked else None
            self._desk.order(_Order(content, expected, lambda taken: self._post(_settle, result, taken), ask))
            return await result
        finally:
            self._orders.discard(result)

    def _asking(self, when_asked: WhenAsked) -> Callable[[], None]:
        """What the desk's thread calls when somebody pastes; the answer comes back to it."""

        def ask() -> None:
            self._post(when_asked, lambda ready: self._desk.prepared(ask, ready))

        return ask

    def noticed(self, sequence: int) -> None:
        """Hear from the desk's thread of a copy that is still to be fetched."""
        self._post(lambda: self.on_copy(sequence))

    def found(self, change: HostCopy) -> None:
        """Take a change from the desk's thread."""
        self._post(self._take, change)

    def lost(self, why: str) -> None:
        """Hear from the desk's thread that it is over."""
        self._post(self._end, why)

    def _post(self, call: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(call, *args)

    def _take(self, change: HostCopy) -> None:
        self._change = change
        self._news.set()

    def _end(self, why: str) -> None:
        self._ended = why
        self._news.set()
        for order in self._orders:
            if not order.done():
                order.set_exception(HostGone(f"the X server is gone: {why}"))


def _settle(result: asyncio.Future[bool], taken: bool) -> None:
    if not result.done():
        result.set_result(taken)


@contextlib.asynccontextmanager
async def x11_clipboard(
    display: str, *, selection: str, limit: int, forms: frozenset[str]
) -> AsyncIterator[X11Clipboard]:
    """Open a selection of an X11 display for the time of the block.

    Raises:
        StateError: the display cannot be reached, or has no XFIXES.
    """
    desk = await asyncio.to_thread(_Desk, display, selection, limit, forms)
    clipboard = X11Clipboard(desk, forms)
    thread = threading.Thread(
        target=desk.run,
        args=(clipboard.noticed, clipboard.found, clipboard.lost),
        name="x11-clipboard",
        daemon=True,
    )
    thread.start()
    try:
        yield clipboard
    finally:
        desk.stop()
        # A server that hangs must not hang us: the thread is a daemon.
        await asyncio.to_thread(thread.join, _JOIN_S)
        if not thread.is_alive():
            desk.close()


class _Desk:
    """The connection and all that goes over it; everything but `order` and `stop` runs in one thread."""

    def __init__(self, display: str, selection: str, limit: int, forms: frozenset[str]) -> None:
        self.name = f"{display} {selection}"
        self._limit, self._forms = limit, forms
        self._display = _connected(display)
        self._display.set_error_handler(lambda *_: None)  # an asker's window may be gone at any moment
        self._atoms: dict[str, int] = {}
        self._selection = self._atom(selection)
        root = self._display.screen().root
        self._window = root.create_window(0, 0, 1, 1, 0, X.CopyFromParent, event_mask=X.PropertyChangeMask)
        mask = (
            xfixes.XFixesSetSelectionOwnerNotifyMask
            | xfixes.XFixesSelectionWindowDestroyNotifyMask
            | xfixes.XFixesSelectionClientCloseNotifyMask
        )
        self._display.xfixes_select_selection_input(self._window, self._selection, mask)
        self._owned = Ownership(self._display, self._atom)
        self._sequence = 0
        self._fetch: Fetch | None = None
        self._fetch_deadline = 0.0
        self._orders: deque[_Order] = deque()
        self._prepared: deque[tuple[Callable[[], None], bool]] = deque()
        self._waiting: deque[_Order] = deque()  # for the server to tell the time
        self._emptied_at: int | None = None
        self._awake, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._stopping = False
        self._noticed: Callable[[int], None] = lambda _: None
        self._found: Callable[[HostCopy], None] = lambda _: None

    # --- from other threads

    def order(self, order: _Order) -> None:
        """Have a write done."""
        self._orders.append(order)
        self._rouse()

    def prepared(self, ask: Callable[[], None], ready: bool) -> None:
        """Have those answered who wait for what `ask` asked for."""
        self._prepared.append((ask, ready))
        self._rouse()

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping = True
        self._rouse()

    def _rouse(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake, b"!")

    # --- the thread

    def run(
        self, noticed: Callable[[int], None], found: Callable[[HostCopy], None], lost: Callable[[str], None]
    ) -> None:
        """Serve until `stop`; tell `noticed` and `found` of changes, and `lost` of the connection's end."""
        self._noticed, self._found = noticed, found
        try:
            self._look_first()
            while not self._stopping:
                self._turn()
            self._owned.forget(math.inf)  # or they would wait for a window that is no more
            self._display.sync()  # a connection that is closed with events unread takes what was just sent with it
            self._display.close()
        except Exception as end:  # a library's own surprise too: a dead thread that nobody hears of is worse
            lost(str(end) or type(end).__name__)

    def close(self) -> None:
        """Give back what is left when `run` is over."""
        os.close(self._awake)
        os.close(self._wake)

    def _look_first(self) -> None:
        if self._display.get_selection_owner(self._selection):
            self._begin_fetch(X.CurrentTime)
        else:
            self._found(HostCopy(EMPTY, self._sequence))

    def _turn(self) -> None:
        while self._display.pending_events():
            self._handle(self._display.next_event())
        now = time.monotonic()
        if self._fetch is not None and self._fetch_deadline <= now:
            self._tell(Content(held=Held.LATE))
        self._owned.forget(now)
        deadlines = [self._fetch_deadline if self._fetch else None, self._owned.deadline]
        due = min((deadline for deadline in deadlines if deadline is not None), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        if x11_wait.wait(self._display, self._awake, wait):
            self._accept()

    def _accept(self) -> None:
        """Do what we were roused for. A write begins with asking the server for the time, to own from then on."""
        while self._prepared:
            self._owned.prepared(*self._prepared.popleft(), time.monotonic())
        while self._orders:
            self._waiting.append(self._orders.popleft())
            # ICCCM 2.1: not CurrentTime.
            self._window.change_property(self._atom(_CLOCK), Xatom.STRING, 8, b"", mode=X.PropModeAppend)

    def _handle(self, event: Any) -> None:
        if isinstance(event, xfixes.SelectionNotify):
            self._owner_changed(event)
        elif event.type == X.SelectionRequest:
            self._owned.answer(event, time.monotonic())
        elif event.type == X.SelectionClear:
            # One that was sent before we took it again, in the same millisecond, is not about what we have now.
            if not self._is_owner():
                self._owned.end()
        elif event.type == X.PropertyNotify and event.window.id != self._window.id:
            self._owned.proceed(event, time.monotonic())
        elif event.type == X.PropertyNotify and event.atom == self._atom(_CLOCK):
            self._write(self._waiting.popleft(), event.time)
        elif event.type in (X.PropertyNotify, X.SelectionNotify) and self._fetch is not None:
            self._step(event)

    def _owner_changed(self, event: Any) -> None:
        owner = getattr(event.owner, "id", event.owner)
        if owner == self._window.id or (not owner and event.selection_timestamp == self._emptied_at):
            return
        self._sequence += 1
        self._noticed(self._sequence)
        self._fetch = None  # what it was fetching is not there any more
        if owner:
            self._begin_fetch(event.selection_timestamp)
        elif event.sub_code == xfixes.XFixesSetSelectionOwnerNotify:
            self._found(HostCopy(EMPTY, self._sequence))
        else:
            self._found(HostCopy(Content(held=Held.GONE), self._sequence))

    def _begin_fetch(self, stamp: int) -> None:
        self._fetch = fetch(self._window, self._selection, self._atom, stamp, limit=self._limit, forms=self._forms)
        self._step(None)

    def _step(self, event: Any) -> None:
        if self._fetch is None:
            return
        self._fetch_deadline = time.monotonic() + _STEP_S
        try:
            self._fetch.send(event)
        except StopIteration as end:
            self._tell(end.value)
        except XError:
            self._tell(Content(held=Held.UNREADABLE))

    def _tell(self, content: Content) -> None:
        self._fetch = None
        if URIS in content.names and not self._may_name_files():
            content = Content(held=Held.NOT_HIS)
        self._found(HostCopy(content, self._sequence))

    def _may_name_files(self) -> bool:
        """Whether who copied may read the files that we would read for it: root can read all, others what they may."""
        return os.geteuid() != 0 or is_roots(self._display, self._selection)

    def _write(self, order: _Order, stamp: int) -> None:
        if self._sequence > order.expected:
            order.done(False)
            return
        if order.content.empty:
            self._emptied_at = stamp
            self._owned.end()
            SetSelectionOwner(display=self._display.display, window=X.NONE, selection=self._selection, time=stamp)
            order.done(True)
            return
        self._window.set_selection_owner(self._selection, stamp)
        taken = self._is_owner()
        if taken:
            self._fetch = None  # of what was there until now
            self._owned.begin(order.content, stamp, order.ask)
        order.done(taken)

    def _is_owner(self) -> bool:
        owner = self._display.get_selection_owner(self._selection)
        return bool(getattr(owner, "id", owner) == self._window.id)

    def _atom(self, name: str) -> int:
        if name not in self._atoms:
            self._atoms[name] = self._display.intern_atom(name)
        return self._atoms[name]


def _connected(name: str) -> Display:
    try:
        display = Display(name)
    except (DisplayError, ConnectionClosedError, OSError, OverflowError) as refusal:
        raise StateError(
            f"the X11 display {name} cannot be reached: {refusal}",
            hint="run it in a terminal of your desktop, where DISPLAY and XAUTHORITY are set correctly",
        ) from refusal
    if not display.has_extension("XFIXES"):
        display.close()
        raise StateError(f"the X11 display {name} has no XFIXES, so it does not report copies")
    display.xfixes_query_version()
    return display
