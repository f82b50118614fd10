"""A connection to a Wayland compositor, in the event loop. Band: shell.

Our own, and not pywayland: that one is compiled, its wheels bundle libwayland, and it has none of wlroots' protocols.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pommel.errors import DeadlineError, NotPermitted, ProtocolError, StateError
from pommel.screen.wayland.codec import Messages, Value, count_of_files, packed, read, written
from pommel.screen.wayland.tables import CORE, Interface

_READ_BYTES = 64 << 10
# A compositor that reads nothing has hung; input is not stored for it without limit.
_MOST_UNSENT_BYTES = 1 << 20
_MOST_FILES = 28  # of one message (libwayland's MAX_FDS_OUT)
_MOST_HELD_FILES = 4 * _MOST_FILES  # whose events have not come; a compositor must not use up all of this process's
_MOST_GLOBALS = 4096
_GONE = "the Wayland compositor has ended"


class Thing:
    """An object of the wire. `on` has the calls for its events, by name."""

    __slots__ = ("_connection", "interface", "number", "on", "version")

    def __init__(self, connection: WaylandConnection, number: int, interface: str, version: int) -> None:
        self._connection = connection
        self.number = number
        self.interface = interface
        self.version = version
        self.on: dict[str, Callable[..., None]] = {}

    def ask(self, request: str, *values: Value | Thing | None) -> None:
        """Send a request that makes no object. None is no object."""
        self._connection.request(self, request, values)

    def make(self, request: str, *values: Value | Thing | None) -> Thing:
        """Send a request that makes an object, and return that."""
        made = self._connection.request(self, request, values)
        if made is None:
            raise TypeError(f"{self.interface}.{request} makes nothing")
        return made


class WaylandConnection:
    """The socket, the objects and the globals of a compositor. All in one event loop."""

    def __init__(self, more: Mapping[str, Interface] | None = None) -> None:
        """`more` are further interfaces than `CORE`."""
        self._tables = {**CORE, **(more or {})}
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._messages = Messages()
        self._things: dict[int, Thing] = {}
        self._free: deque[int] = deque()
        self._last = 1
        self._files: deque[int] = deque()
        self._unsent: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._unsent_bytes = 0
        self.globals: dict[int, tuple[str, int]] = {}  # number: interface and version
        self.on_global: Callable[[int], None] = lambda _: None
        self.on_global_gone: Callable[[int], None] = lambda _: None
        self.ended: asyncio.Future[str] = self._loop.create_future()

    async def open(self, path: str, *, timeout_s: float) -> None:
        """Connect to the compositor's socket at `path`, and learn its globals.

        Raises:
            StateError: there is none, or it ended at once.
            NotPermitted: the socket may not be used, or it belongs to another user.
            DeadlineError: it did not answer within `timeout_s`.
        """
        self._socket = _connected(path)
        self._loop.add_reader(self._socket, self._readable)
        self._display = self._new("wl_display", 1)
        self._display.on = {"error": self._refused, "delete_id": self._deleted}
        self._registry = self._display.make("get_registry")
        self._registry.on = {"global": self._offered, "global_remove": self._withdrawn}
        try:
            await asyncio.wait_for(self.roundtrip(), timeout_s)
        except TimeoutError:
            raise DeadlineError(f"the Wayland compositor did not answer within {timeout_s:g} s") from None

    def bind(self, interface: str, version: int, number: int | None = None) -> Thing:
        """Use a global, at most in `version`; `number` chooses one of several. StateError: it is not offered."""
        for one, (offered, newest) in self.globals.items():
            if offered == interface and number in (None, one):
                return self._registry.make("bind", one, interface, min(version, newest))
        raise StateError(f"the Wayland compositor has no {interface}")

    def offers(self, interface: str) -> list[int]:
        """List the numbers of the globals of an interface."""
        return [number for number, (offered, _) in self.globals.items() if offered == interface]

    async def roundtrip(self) -> None:
        """Wait until the compositor has handled all requests. StateError: it has ended."""
        done = self._loop.create_future()
        self._display.make("sync").on["done"] = lambda _: None if done.done() else done.set_result(None)
        await asyncio.wait((done, self.ended), return_when=asyncio.FIRST_COMPLETED)
        if self.ended.done():
            raise StateError(self.ended.result())

    def close(self, why: str = _GONE) -> None:
        """Disconnect. What the kernel's buffer has no room for is lost."""
        if not self.ended.done():
            self.ended.set_result(why)
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None
        for file in (*self._files, *(file for _, files in self._unsent for file in files)):
            os.close(file)
        self._files.clear()
        self._unsent.clear()

    # --- requests ---

    def request(self, thing: Thing, name: str, values: tuple[Value | Thing | None, ...]) -> Thing | None:
        """Send a request; return the object that it makes. After the end, nothing is sent."""
        message = self._tables[thing.interface].requests[name]
        given = iter(values)
        made: Thing | None = None
        files = list[int]()
        body = b""
        for letter, interface in message.arguments:
            if letter == "n":
                made = self._new(interface, thing.version)
                body += written("u", made.number)
            elif letter == "N":
                wanted, version = str(next(given)), int(next(given))  # type: ignore[arg-type]
                made = self._new(wanted, version)
                body += written("s", wanted) + written("u", version) + written("u", made.number)
            else:
                value = next(given)
                plain: Any = value.number if isinstance(value, Thing) else 0 if value is None else value
                if letter == "h":
                    files.append(os.dup(plain))
                body += written(letter, plain)
        self._send(packed(thing.number, message.opcode, body), tuple(files))
        return made

    def _new(self, interface: str, version: int) -> Thing:
        if self._free:
            number = self._free.popleft()
        else:
            number = self._last
            self._last += 1
        thing = self._things[number] = Thing(self, number, interface, version)
        return thing

    def _send(self, data: bytes, files: tuple[int, ...]) -> None:
        if self._socket is None:
            for file in files:
                os.close(file)
            return
        self._unsent.append((data, files))
        self._unsent_bytes += len(data)
        if len(self._unsent) == 1:
            self._writable()
        if self._unsent_bytes > _MOST_UNSENT_BYTES:
            self.close("the Wayland compositor does not read what it is sent")

    def _writable(self) -> None:
        while self._unsent and self._socket is not None:
            data, files = self._unsent[0]
            beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
            try:
                count = self._socket.sendmsg([data], beside)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._writable)
                return
            except OSError:
                # Its last words, such as a protocol error, may still be unread: the reader sees the end after them.
                self._loop.remove_writer(self._socket)
                return
            for file in files:
                os.close(file)
            self._unsent_bytes -= count
            if count < len(data):
                self._unsent[0] = data[count:], ()
            else:
                self._unsent.popleft()
        if self._socket is not None:
            self._loop.remove_writer(self._socket)

    # --- events ---

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data, beside, *_ = self._socket.recvmsg(
                _READ_BYTES, socket.CMSG_SPACE(_MOST_FILES * 4), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            data, beside = b"", []
        for level, kind, raw in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._files += [one for (one,) in struct.iter_unpack("=i", raw[: len(raw) // 4 * 4])]
        if not data:
            self.close()
            return
        try:
            if len(self._files) > _MOST_HELD_FILES:
                raise ProtocolError("the Wayland compositor sent files without their events")
            for number, opcode, body in self._messages.feed(data):
                self._event(number, opcode, body)
        except ProtocolError as broken:
            self.close(broken.message)

    def _event(self, number: int, opcode: int, body: bytes) -> None:
        thing = self._things.get(number)
        if thing is None:
            return
        events = self._tables[thing.interface].events
        if opcode >= len(events):
            raise ProtocolError(f"the Wayland compositor sent event {opcode} of {thing.interface}")
        message = events[opcode]
        values = read(message, body)
        if count_of_files(message) > len(self._files):
            raise ProtocolError(f"the Wayland compositor sent a {message.name} without its file")
        files = [self._files.popleft() for _ in range(count_of_files(message))]
        try:
            if call := thing.on.get(message.name):
                call(*values, *files)
        finally:
            for file in files:
                os.close(file)

    def _offered(self, number: int, interface: str, version: int) -> None:
        if len(self.globals) >= _MOST_GLOBALS:
            raise ProtocolError(f"the Wayland compositor offers more than {_MOST_GLOBALS} globals")
        self.globals[number] = interface, version
        self.on_global(number)

    def _withdrawn(self, number: int) -> None:
        self.globals.pop(number, None)
        self.on_global_gone(number)

    def _deleted(self, number: int) -> None:
        if self._things.pop(number, None) is not None:
            self._free.append(number)

    def _refused(self, number: int, code: int, text: str) -> None:
        thing = self._things.get(number)
        self.close(
            f"the Wayland compositor ended the connection: {thing.interface if thing else number}, {code}: {text}"
        )


def socket_path(display: str, runtime: str) -> str:
    """Return the path of a display's socket: `display` is a path, or a name in the runtime folder."""
    return str(Path(runtime or "/nonexistent") / display)


def _connected(path: str) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        one.connect(path)
        _, uid, _ = struct.unpack("=iii", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if os.geteuid() not in (0, uid) and uid != 0:
            raise NotPermitted(f"the Wayland compositor at {path} belongs to uid {uid}")
    except PermissionError:
        one.close()
        raise NotPermitted(f"the Wayland compositor at {path} may not be used by this user") from None
    except OSError as failure:
        one.close()
        raise StateError(f"there is no Wayland compositor at {path}: {failure.strerror}") from None
    except NotPermitted:
        one.close()
        raise
    return one
