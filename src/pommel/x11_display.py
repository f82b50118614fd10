"""The only module that opens an X display, waits on it and closes it. Band: shell, shared ground.

On python-xlib; ARCHITECTURE.md (Libraries) says why. What Pommel needs otherwise than the library does it is here:
tables of its own for each connection, only the extensions that are used, no socket left open, no request left unsent,
no waiting for a lock that an error has left locked. `screen/sources/x11_requests.py` has the requests that it lacks.
"""

from __future__ import annotations

import os
import select
from types import ModuleType
from typing import Any

from Xlib import error
from Xlib.display import Display, _BaseDisplay
from Xlib.ext import damage, randr, res, xfixes, xtest
from Xlib.protocol import event as core_events
from Xlib.protocol import rq

from pommel.errors import NotPermitted, PommelError, StateError

# Extension -> the library's module for it; None if it has none.
_EXTENSIONS: dict[str, ModuleType | None] = {
    xtest.extname: xtest,
    randr.extname: randr,
    xfixes.extname: xfixes,
    damage.extname: damage,
    res.extname: res,
    "MIT-SHM": None,
    "XKEYBOARD": None,
}


class _Connection(_BaseDisplay):
    """A connection with its own opcodes and event numbers.

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


class _Display(Display):
    """The library's Display on such a connection, with the extensions of `_EXTENSIONS` and without a keyboard map.

    The library's constructor makes the other kind of connection, so it is not called: these are the attributes that it
    sets (Xlib/display.py of 0.33). No release came since 2022, and the locks hold this one.
    """

    def __init__(self, name: str) -> None:
        self.display = _Connection(name)
        self.extensions: list[str] = []
        self.extension_event = rq.DictWrapper({})
        self.class_extension_dicts = {}
        self.display_extension_methods = {}
        self.keysym_translations = {}
        try:
            self._load()
        except BaseException:
            close(self)
            raise

    def _load(self) -> None:
        there = set(self.list_extensions())
        for name, module in _EXTENSIONS.items():
            info = self.query_extension(name) if name in there else None
            if info is None:
                continue
            self.display.set_extension_major(name, info.major_opcode)
            if module is not None:
                module.init(self, info)
            self.extensions.append(name)


def opened(name: str, *, hint: str) -> Display:
    """Connect to the X server called `name`, such as ":0". Blocks.

    Of errors only those of requests with a reply are told; what else matters is to have a handler of its own.

    Raises:
        StateError: there is none; `hint` is what to type then.
        NotPermitted: it refuses the connection.
    """
    try:
        display = _Display(name)
    except (error.DisplayError, error.ConnectionClosedError, OSError, OverflowError) as refusal:  # :99999 has no port
        failure = _explained(name, refusal, hint)
    else:
        display.set_error_handler(lambda *_: None)
        return display
    # Not inside of the `except`: the refusal would stay with it, and with its frames each socket that the library could
    # not connect and forgot.
    raise failure


def _explained(name: str, refusal: Exception, hint: str) -> PommelError:
    words = getattr(refusal, "msg", None)
    if isinstance(words, bytes):  # the server's own message, so there is a server
        return NotPermitted(
            f"the X server {name} refuses the connection: {words.decode('latin-1').strip() or 'no reason given'}",
            hint="run it as the user of that session, with XAUTHORITY set to the session's file",
        )
    return StateError(f"there is no X server at {name}: {refusal}", hint=hint)


def wait(display: Display, awake: int, wait_s: float | None) -> bool:
    """Send what is to be sent, then wait for something from the server or on the pipe `awake`, at most `wait_s`.

    The library's `flush` sends what the server takes at that moment, and keeps the rest without a word. A server that
    is busy for an instant takes no more than some hundred small requests (a UNIX socket counts each by what it costs
    the kernel). Whoever then waits for the server to say something waits for ever, as the server has not heard all.

    True: there was something on the pipe, which is empty now. Returns at once where events were read meanwhile.
    """
    display.flush()
    if display.display.event_queue:  # flushing may also read events; select would not wake for these
        return False
    server = display.fileno()
    unsent = [server] if display.display.data_send else []
    ready, _, _ = select.select([server, awake], unsent, [], wait_s)
    if awake in ready:
        os.read(awake, 4096)
        return True
    return False


def close(display: Display) -> None:
    """Close a connection without sending the rest.

    The library's own `close` may wait for a lock for ever after an error.
    """
    display.display.socket.close()
