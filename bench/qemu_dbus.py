"""QEMU's peer-to-peer D-Bus display, as little of it as `screen_dbus.py` wants. A bench's, not Pommel's.

One end of a socket pair goes to QEMU by QMP (getfd with SCM_RIGHTS, then add_client): on that connection we call. One end
of a second pair goes with RegisterListener: on that one QEMU calls us. On both we are the side that authenticates, and no
message has a destination. Headers and small messages are jeepney's; pixels are received right into the frame.
Source: QEMU's ui/dbus-display1.xml.
"""

from __future__ import annotations

import array
import asyncio
import json
import socket
import struct
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
from jeepney import HeaderFields, Message, MessageFlag, MessageType, new_method_return
from jeepney.auth import BEGIN, Authenticator
from jeepney.low_level import Header, calc_msg_size
from jeepney.wrappers import new_header

from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, whole

GREET = {"execute": "qmp_capabilities"}
GETFD = {"execute": "getfd", "arguments": {"fdname": "ours"}}
ADD_CLIENT = {"execute": "add_client", "arguments": {"protocol": "@dbus-display", "fdname": "ours"}}
# What comes before the pixels: (x, y,) width, height, stride, pixman's format, count of bytes.
LAYOUTS: dict[object, str] = {"Scanout": "<4I4x", "Update": "<4i2I4x"}


class Listener(asyncio.BufferedProtocol):
    """QEMU's calls to us. `came` hears of each rectangle, `heard` keeps what the small messages said."""

    def __init__(self, came: Callable[[Rect], None]) -> None:
        self.frame = Frame.blank(Size(0, 0))
        self.heard: list[tuple[object, tuple[object, ...]]] = []
        self._came = came
        self._parser = self._parse()
        self._target = next(self._parser)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._target

    def buffer_updated(self, nbytes: int) -> None:
        self._target = self._target[nbytes:]
        while not self._target:
            self._target = next(self._parser)

    def _parse(self) -> Generator[memoryview, None, None]:
        while True:
            yield memoryview(start := bytearray(16))
            (body,) = struct.unpack_from("<I", start, 4)
            yield memoryview(rest := bytearray(calc_msg_size(start) - 16 - body))
            header, _ = Header.from_buffer(bytes(start + rest))
            member = header.fields.get(HeaderFields.member)
            if layout := LAYOUTS.get(member):
                yield memoryview(fixed := bytearray(struct.calcsize(layout)))
                yield from self._pixels(*struct.unpack(layout, fixed)[:-1])
            else:
                yield memoryview(args := bytearray(body))
                self.heard.append((member, Message.from_buffer(bytes(start + rest + args)).body))
            self._answer(header)

    def _pixels(self, *place: int) -> Generator[memoryview, None, None]:
        *corner, width, height, stride = place
        x, y = corner or (0, 0)
        rect = Rect(x, y, width, height)
        if not corner and rect != whole(self.frame.size):
            self.frame = Frame.blank(Size(width, height))
        fits = rect.within(self.frame.size)  # a new mode's first updates may come before its Scanout
        rows = self.frame.rows(rect) if fits and stride == width * 4 else None
        if rows is not None:
            yield rows
        else:
            yield memoryview(data := bytearray(stride * height))
        if fits and rows is None:
            lines = np.frombuffer(data, np.uint8).reshape(height, stride)
            self.frame.view(rect)[:] = lines[:, : width * 4].reshape(height, width, 4)
        if fits:
            self._came(rect)

    def _answer(self, header: Header) -> None:
        """Answer the one call that waits: QEMU asks for our properties while it registers us, and stands still till then."""
        if header.message_type is MessageType.method_call and not header.flags & MessageFlag.no_reply_expected:
            self.transport.write(new_method_return(Message(header, ()), "a{sv}", ({},)).serialise(serial=1))


class Console:
    """The first graphic console of the QEMU whose QMP is at `qmp`."""

    def __init__(self, qmp: Path) -> None:
        self._socket, theirs = socket.socketpair()
        self._serial = 0
        with theirs:
            _hand_over(qmp, theirs)
        _authenticate(self._socket, enable_fds=True)

    async def listen(self, came: Callable[[Rect], None]) -> Listener:
        ours, theirs = socket.socketpair()
        with theirs:
            self.call("Console", "RegisterListener", "h", theirs)
        _authenticate(ours, enable_fds=False)
        loop = asyncio.get_running_loop()
        _, listener = await loop.create_unix_connection(lambda: Listener(came), sock=ours)
        loop.add_reader(self._socket.fileno(), self._socket.recv, 65536)  # answers and signals, unread
        return listener

    def call(self, interface: str, method: str, signature: str, argument: object) -> None:
        """Call a method of one argument; nobody waits for the answer."""
        header = new_header(MessageType.method_call)
        header.fields |= {
            HeaderFields.path: "/org/qemu/Display1/Console_0",
            HeaderFields.interface: f"org.qemu.Display1.{interface}",
            HeaderFields.member: method,
            HeaderFields.signature: signature,
        }
        self._serial += 1
        fds = array.array("i")
        data = Message(header, (argument,)).serialise(self._serial, fds=fds)
        socket.send_fds(self._socket, [data], fds)

    def key(self, qnum: int, down: bool) -> None:
        self.call("Keyboard", "Press" if down else "Release", "u", qnum)

    async def close(self, listener: Listener) -> None:
        """End both. QEMU 7.2 also forgets a new listener if it comes before the old one is seen to be gone: wait for that."""
        listener.transport.close()
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()


def _hand_over(qmp: Path, theirs: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX) as monitor, monitor.makefile("rb") as lines:
        monitor.connect(str(qmp))
        lines.readline()
        for command in (GREET, GETFD, ADD_CLIENT):
            fds = [theirs.fileno()] if command is GETFD else []
            socket.send_fds(monitor, [json.dumps(command).encode()], fds)
            while "return" not in (answer := json.loads(lines.readline())):
                if "error" in answer:
                    raise RuntimeError(answer["error"]["desc"])


def _authenticate(end: socket.socket, *, enable_fds: bool) -> None:
    talk = Authenticator(enable_fds=enable_fds)
    for line in talk:
        end.sendall(line)
        talk.feed(end.recv(4096))
    end.sendall(BEGIN)
