"""One connection to an X server, and the thread that owns it. Band: shell.

python-xlib blocks, so nothing but this thread touches the connection: it sleeps until the server, an order of ours or
its tenant's clock wakes it. What it works at is the tenant's business. A server that hangs hangs this thread alone;
`close` then takes the socket away from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import FunctionType
from typing import Any, Protocol, TypeVar

from Xlib import display as library
from Xlib import error
from Xlib.display import Display
from Xlib.protocol import event as core_events

from pommel import x11_wait
from pommel.errors import DeadlineError, NotPermitted, PommelError, StateError

T = TypeVar("T")
_JOIN_S = 2.0
_GONE = "the X server closed the connection"


class _OwnTables(library._BaseDisplay):
    """A connection with opcodes and event numbers of its own.

    The library keeps them for all connections of a process, but they are each server's to choose: with two servers of
    different extensions, one would be spoken to in the other's numbers.
    """

    def __init__(self, name: str) -> None:
        self.extension_major_opcodes: dict[str, int] = {}
        self.event_classes: Any = core_events.event_class.copy()
        self.error_classes: Any = error.xerror_class.copy()
        try:
            super().__init__(name)
        except BaseException:
            if hasattr(self, "socket"):  # the library leaves it open when the server says no
                self.socket.close()
            raise

    def add_extension_error(self, code: int, err: type[Any]) -> None:
        """Do nothing: the library files extensions' errors under the core's numbers, and cannot read those then."""


class _OwnDisplay(Display):
    """python-xlib's Display on top of such a connection: its own constructor, which names the other kind."""

    __init__ = FunctionType(
        Display.__init__.__code__, {**vars(library), "_BaseDisplay": _OwnTables}, "__init__", (None,)
    )


class Tenant(Protocol):
    """What lives on a connection. All of it is called in the connection's thread."""

    def handle(self, event: Any) -> None:
        """Take note of an event of python-xlib's."""

    def due_s(self) -> float | None:
        """Return when, by the monotonic clock, `act` is to be called; None if not before something happens."""

    def act(self) -> None:
        """Do what is due."""

    def leave(self) -> None:
        """Undo what must not stay behind; the connection ends after it."""


class X11Link:
    """A thread with a connection of its own."""

    def __init__(self, name: str | None, thread_name: str) -> None:
        self._name = name
        self._works: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._lock = threading.Lock()
        self._open = True
        self._stopping = False
        self._display: Display | None = None
        self._awake, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread_name = thread_name
        self._thread: threading.Thread | None = None

    async def open(self, move_in: Callable[[Display], Tenant], lost: Callable[[str], None], *, timeout_s: float) -> Any:
        """Connect, have `move_in` make the tenant, and return it; `lost` hears, in the thread, why it all ended.

        Raises:
            StateError: there is no such X server, or it lacks what `move_in` needs.
            NotPermitted: it does not let us in.
            DeadlineError: it did not answer within `timeout_s`.
        """
        ready: Future[Tenant] = Future()
        args = (move_in, ready, lost)
        self._thread = threading.Thread(target=self._run, args=args, name=self._thread_name, daemon=True)
        self._thread.start()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(ready), timeout_s)
        except TimeoutError:
            raise DeadlineError(f"the X server did not answer within {timeout_s:g} s") from None

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Have `work` done in the thread, after all that was asked before; ConnectionError if it has ended."""
        result: Future[T] = Future()
        with self._lock:
            if self._open:
                self._works.append((work, result))
            else:
                result.set_exception(ConnectionResetError(_GONE))
        self.rouse()
        return result

    async def close(self) -> None:
        """Do what was asked, then end. A server that hangs is not waited for."""
        self._stopping = True
        self.rouse()
        thread = self._thread
        if thread is None:
            return
        await asyncio.to_thread(thread.join, _JOIN_S)
        if thread.is_alive() and self._display is not None:
            with contextlib.suppress(OSError):
                self._display.display.socket.shutdown(socket.SHUT_RDWR)
            await asyncio.to_thread(thread.join, _JOIN_S)
        self._thread = None

    def rouse(self) -> None:
        """Have the thread look at what is due again."""
        with self._lock, contextlib.suppress(BlockingIOError, OSError):
            if self._wake >= 0:
                os.write(self._wake, b"!")

    # --- the thread ---

    def _run(self, move_in: Callable[[Display], Tenant], ready: Future[Tenant], lost: Callable[[str], None]) -> None:
        reason = _GONE
        try:
            self._display = connected(self._name)
            tenant = move_in(self._display)
            ready.set_result(tenant)
            self._serve(self._display, tenant)
        except (error.ConnectionClosedError, OSError) as end:
            _fail(ready, StateError(f"{_GONE}: {end}"))
        except PommelError as refusal:
            _fail(ready, refusal)
        except Exception as end:  # a surprise of the library's too: a dead thread that nobody hears of is worse
            reason = f"the X connection failed: {type(end).__name__}: {end}"
            _fail(ready, StateError(reason))
        finally:
            self._finish()
            lost(reason)

    def _serve(self, display: Display, tenant: Tenant) -> None:
        while not self._stopping or self._works:
            while self._works:
                work, result = self._works.popleft()
                if result.set_running_or_notify_cancel():
                    self._do(display, work, result)
            while display.pending_events():
                tenant.handle(display.next_event())
            due = tenant.due_s()
            if due is not None and due <= time.monotonic():
                tenant.act()
                continue
            self._sleep(display, due)
        tenant.leave()
        display.sync()  # a server that cannot write to us any more drops what it has not read of ours

    @staticmethod
    def _do(display: Display, work: Callable[[], Any], result: Future[Any]) -> None:
        try:
            done = work()
            display.flush()
        except BaseException:
            result.set_exception(ConnectionResetError(_GONE))
            raise
        result.set_result(done)

    def _sleep(self, display: Display, due: float | None) -> None:
        if not self._works:
            x11_wait.wait(display, self._awake, None if due is None else max(due - time.monotonic(), 0.0))

    def _finish(self) -> None:
        with self._lock:
            self._open = False
            left, self._works = self._works, deque()
            for end in (self._awake, self._wake):
                os.close(end)
            self._awake = self._wake = -1
        for _, result in left:
            if result.set_running_or_notify_cancel():
                result.set_exception(ConnectionResetError(_GONE))
        if self._display is not None:
            # Not the library's own close: that may wait for a lock which an error has left locked.
            self._display.display.socket.close()


def _fail(ready: Future[Tenant], failure: PommelError) -> None:
    if not ready.done():
        ready.set_exception(failure)


def connected(name: str | None) -> Display:
    """Connect to the X server called `name`, or the one that DISPLAY names. Blocks.

    Raises:
        StateError: there is none.
        NotPermitted: it does not let us in.
    """
    name = name or os.environ.get("DISPLAY")
    if not name:
        raise StateError("no X11 display is set", hint="pass --display :0, or set DISPLAY")
    try:
        display: Display = _OwnDisplay(name)
    except (error.DisplayError, error.ConnectionClosedError, OSError, OverflowError) as refusal:  # :99999 has no port
        _close_sockets(refusal)
        words = getattr(refusal, "msg", None)
        if isinstance(words, bytes):  # the server's own, so there is one
            raise NotPermitted(
                f"the X server {name} refuses the connection: {words.decode('latin-1').strip() or 'no reason given'}",
                hint="run it as the user of that session, with XAUTHORITY set to the session's file",
            ) from refusal
        raise StateError(
            f"there is no X server at {name}: {refusal}", hint="give the session's display; to list the displays: who"
        ) from refusal
    display.set_error_handler(lambda *_: None)  # what matters is asked with a reply, or has a handler of its own
    return display


def _close_sockets(failure: BaseException | None) -> None:
    """Close what the library opened and forgot when it could not connect: only its frames know it."""
    while failure is not None:
        for frame, _ in traceback.walk_tb(failure.__traceback__):
            forgotten = frame.f_locals.get("s")
            if isinstance(forgotten, socket.socket):
                forgotten.close()
        failure = failure.__context__
