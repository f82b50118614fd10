"""One connection to an X server, and the thread that owns it. Band: shell.

python-xlib blocks, so only this thread uses the connection. It sleeps until the server sends something, `call` adds
work, or its tenant's time has come. The tenant decides what is done. A server that hangs blocks only this thread;
`close` then shuts the socket down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from Xlib import error
from Xlib.display import Display

from pommel import x11_display
from pommel.errors import DeadlineError, PommelError, StateError

T = TypeVar("T")
_JOIN_S = 2.0
_GONE = "the X server closed the connection"


class Tenant(Protocol):
    """The user of a connection. All its methods are called in the connection's thread."""

    def handle(self, event: Any) -> None:
        """Handle an event of python-xlib."""

    def due_s(self) -> float | None:
        """Return the time of the monotonic clock for the next call of `act`; None: not before the next event."""

    def act(self) -> None:
        """Do the work that is due."""

    def leave(self) -> None:
        """Release keys and memory on the server; the connection ends after this."""


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
        """Connect, let `move_in` make the tenant, and return it; the thread calls `lost` with the reason of its end.

        Raises:
            StateError: there is no such X server, or it lacks a feature that `move_in` needs.
            NotPermitted: it refuses the connection.
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
        """Run `work` in the thread, after all earlier work; ConnectionError in the future if the thread has ended."""
        result: Future[T] = Future()
        with self._lock:
            if self._open:
                self._works.append((work, result))
            else:
                result.set_exception(ConnectionResetError(_GONE))
        self.rouse()
        return result

    async def close(self) -> None:
        """Finish the work, then end. If the server hangs, the socket is shut down after `_JOIN_S`."""
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
        """Wake the thread, so that it looks for work again."""
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
        # also an unexpected error of the library: without this, the thread would end unnoticed
        except Exception as end:
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
        display.sync()  # wait until the server has read everything: it drops unread requests when it cannot write to us

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
            x11_display.wait(display, self._awake, None if due is None else max(due - time.monotonic(), 0.0))

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
            x11_display.close(self._display)


def _fail(ready: Future[Tenant], failure: PommelError) -> None:
    if not ready.done():
        ready.set_exception(failure)


def connected(name: str | None) -> Display:
    """Connect to the X server `name`, or to that of the environment variable DISPLAY. Blocks.

    Raises:
        StateError: there is none.
        NotPermitted: it refuses the connection.
    """
    name = name or os.environ.get("DISPLAY")
    if not name:
        raise StateError("no X11 display is set", hint="pass --display :0, or set DISPLAY")
    return x11_display.opened(name, hint="give the session's display; to list the displays: who")
