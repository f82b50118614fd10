"""An X11 session's clipboard: XFIXES reports changes; contents are fetched and offered as selections. Band: shell.

One thread owns the connection (python-xlib blocks) and sleeps until the X server, our loop or a deadline wakes it.
Orders reach it through a queue; its results return through `call_soon_threadsafe`.
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
from Xlib.error import XError
from Xlib.ext import xfixes
from Xlib.protocol.request import SetSelectionOwner

from pommel import x11_display
from pommel.clipboard.content import EMPTY, URIS, Content, HeldBack
from pommel.clipboard.host import HostCopy, HostGone, WhenAsked
from pommel.clipboard.x11_fetch import Fetch, fetch
from pommel.clipboard.x11_offer import Ownership
from pommel.clipboard.x11_owner import is_roots
from pommel.errors import StateError

# The owner of the selection may take this long for each step of sending its copy.
_STEP_S = 5.0
_JOIN_S = 2.0
_CLOCK = "POMMEL_CLOCK"


@dataclass(slots=True)
class _Order:
    """A write to do; `done` is called once with the result, `ask` when a program pastes."""

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
        """The function that the desk's thread calls when a program pastes; the answer returns to that thread."""

        def ask() -> None:
            self._post(when_asked, lambda ready: self._desk.prepared(ask, ready))

        return ask

    def noticed(self, sequence: int) -> None:
        """Note a new copy that is not fetched yet; called by the desk's thread."""
        self._post(lambda: self.on_copy(sequence))

    def found(self, change: HostCopy) -> None:
        """Take a change; called by the desk's thread."""
        self._post(self._take, change)

    def lost(self, why: str) -> None:
        """Note the end of the connection; called by the desk's thread."""
        self._post(self._end, why)

    def _post(self, call: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: this process is ending
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
    """Open a selection of an X11 display during the block.

    Raises:
        StateError: there is no such display, or it has no XFIXES.
        NotPermitted: it refuses the connection.
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
        # If the server hangs, the thread stays behind; as a daemon it does not prevent our exit.
        await asyncio.to_thread(thread.join, _JOIN_S)
        if not thread.is_alive():
            desk.close()


class _Desk:
    """The connection and its state; everything but `order`, `prepared` and `stop` runs in one thread."""

    def __init__(self, display: str, selection: str, limit: int, forms: frozenset[str]) -> None:
        self.name = f"{display} {selection}"
        self._limit, self._forms = limit, forms
        self._display = _connected(display)
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
        self._waiting: deque[_Order] = deque()  # orders that wait for the server's time
        self._emptied_at: int | None = None
        self._awake, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._stopping = False
        self._noticed: Callable[[int], None] = lambda _: None
        self._found: Callable[[HostCopy], None] = lambda _: None

    # --- from other threads

    def order(self, order: _Order) -> None:
        """Queue a write."""
        self._orders.append(order)
        self._rouse()

    def prepared(self, ask: Callable[[], None], ready: bool) -> None:
        """Answer the programs that wait for the content of `ask`."""
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
        """Serve until `stop`; call `noticed` and `found` at changes, and `lost` at the end of the connection."""
        self._noticed, self._found = noticed, found
        try:
            self._look_first()
            while not self._stopping:
                self._turn()
            self._owned.forget(math.inf)  # refuse programs that still wait: our window will be gone
            self._display.sync()  # closing a connection with unread events would discard the last requests
        except Exception as end:  # also an unexpected error of the library: the thread must not end unnoticed
            lost(str(end) or type(end).__name__)
        finally:
            x11_display.close(self._display)

    def close(self) -> None:
        """Close the remaining descriptors after `run`."""
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
            self._publish(Content(held=HeldBack.LATE))
        self._owned.forget(now)
        deadlines = [self._fetch_deadline if self._fetch else None, self._owned.deadline]
        due = min((deadline for deadline in deadlines if deadline is not None), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        if x11_display.wait(self._display, self._awake, wait):
            self._accept()

    def _accept(self) -> None:
        """Do the queued work. A write first asks for the server's time, because ownership needs a time stamp."""
        while self._prepared:
            self._owned.prepared(*self._prepared.popleft(), time.monotonic())
        while self._orders:
            self._waiting.append(self._orders.popleft())
            # ICCCM 2.1 forbids CurrentTime here.
            self._window.change_property(self._atom(_CLOCK), Xatom.STRING, 8, b"", mode=X.PropModeAppend)

    def _handle(self, event: Any) -> None:
        if isinstance(event, xfixes.SelectionNotify):
            self._owner_changed(event)
        elif event.type == X.SelectionRequest:
            self._owned.answer(event, time.monotonic())
        elif event.type == X.SelectionClear:
            # The event may be from before we became the owner again, in the same millisecond: so ask for the owner.
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
        self._fetch = None  # the content that it was fetching is gone
        if owner:
            self._begin_fetch(event.selection_timestamp)
        elif event.sub_code == xfixes.XFixesSetSelectionOwnerNotify:
            self._found(HostCopy(EMPTY, self._sequence))
        else:
            self._found(HostCopy(Content(held=HeldBack.GONE), self._sequence))

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
            self._publish(end.value)
        except XError:
            self._publish(Content(held=HeldBack.UNREADABLE))

    def _publish(self, content: Content) -> None:
        self._fetch = None
        if URIS in content.names and not self._may_name_files():
            content = Content(held=HeldBack.NOT_HIS)
        self._found(HostCopy(content, self._sequence))

    def _may_name_files(self) -> bool:
        """Whether we may read files that the owner names: as root, only for root's programs; else always."""
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
            self._fetch = None  # it was fetching the content before ours
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
    display = x11_display.opened(
        name, hint="run it in a terminal of your desktop, where DISPLAY and XAUTHORITY are set correctly"
    )
    if not display.has_extension("XFIXES"):
        x11_display.close(display)
        raise StateError(f"the X11 display {name} has no XFIXES, so it does not report copies")
    display.xfixes_query_version()
    return display
