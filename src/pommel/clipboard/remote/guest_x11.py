"""What `guest.sh` needs of an X11 guest's clipboard: to hear of its changes, and to own what is large.

Runs on the guest: sent over SSH, never stored, imported by nothing. Only the standard library of Python 3.7 and up, and
only the requests that this takes (X11 protocol, appendix B; XFIXES 2.0; ICCCM 2). Band: shell.

    watch SECONDS PID   a line "look" for each change of the clipboard's owner, "again" now and then; where there is no
                        X11 display, an "again" each so many seconds. Ends with the process PID.
    own KIND            what is on standard input is the clipboard, under this name, until somebody else copies: for any
                        number of programs at once. An xclip hands over what takes several pieces to one of them, and
                        never answers others meanwhile. Status 3: there is no display, and nothing was read.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from pathlib import Path

WORD, SECOND, THIRD = (*sys.argv[1:4], "", "", "")[:3]
PARENT = int(THIRD) if THIRD not in ("", "0") else os.getppid()
LOOK, AGAIN = b"look\n", b"again\n"
ALONE_S = 0.5
NOW_AND_THEN_S = 5.0  # should pbpaste look at another display than we do
PIECE = 192 << 10  # a request holds 256 KiB without BIG-REQUESTS
FORGET_S = 30.0  # an asker that does not go on asking
TEXT_NAMES = ("UTF8_STRING", "text/plain;charset=utf-8", "text/plain;charset=UTF-8", "text/plain", "TEXT")


def watch(every_s: float) -> None:
    """Watch until nobody reads any more."""
    while True:
        try:
            link = watched()
            send_line(LOOK)
            while True:
                send_line(LOOK if changed(link) else AGAIN)
        except (OSError, EOFError, ValueError, IndexError, struct.error):
            send_line(AGAIN)
            end_if_alone()
            time.sleep(every_s)


def changed(link: socket.socket) -> bool:
    """Wait for an event, or for it to be time to look anyway; whether there was one."""
    for _ in range(round(NOW_AND_THEN_S / ALONE_S)):
        if select.select([link], [], [], ALONE_S)[0]:
            whole(link, 32)
            return True
        end_if_alone()
    return False


def end_if_alone() -> None:
    """End, and say so, if the shell that started this is gone."""
    if os.getppid() != PARENT:
        send_line(b"end\n")
        os._exit(0)


def send_line(line: bytes) -> None:
    """Tell `publish`; end if it is gone."""
    try:
        os.write(1, line)
    except OSError:
        os._exit(0)


def watched() -> socket.socket:
    """Connect to the display and ask for its clipboard's changes: XFixesSelectionNotify, 32 bytes each."""
    link, root, _ = opened()
    told = reply_to(link, struct.pack("<BBHHxx", 98, 0, 4, 6) + b"XFIXES\0\0")  # QueryExtension
    if not told[8]:
        raise ValueError
    reply_to(link, struct.pack("<BBHII", told[9], 0, 3, 2, 0))  # XFixesQueryVersion
    clipboard = atom(link, "CLIPBOARD")
    link.sendall(struct.pack("<BBHIII", told[9], 2, 4, root, clipboard, 1))  # XFixesSelectSelectionInput
    return link


class Owner:
    """The clipboard, for as long as it is ours, and who is still being served."""

    def __init__(self) -> None:
        self.link, root, self.window = opened()
        self.stamp, self.held, self.data = 0, False, b""
        self.names: dict[int, int] = {}  # under which our content may be asked for, and what it then is
        self.pieces: dict[tuple[int, int], tuple[int, int, float]] = {}  # asker, place: what it is, sent, until when
        self.early: list[bytes] = []  # events that came before the answer that was waited for
        words = ("CLIPBOARD", "TARGETS", "TIMESTAMP", "INCR")
        self.clipboard, self.targets, self.timestamp, self.incr = (atom(self.link, word) for word in words)
        # A window that is never shown, which hears of its properties: of one, to have the server's time.
        self.link.sendall(
            struct.pack("<BBHIIhhHHHHIII", 1, 0, 9, self.window, root, 0, 0, 1, 1, 0, 2, 0, 0x800, 0x400000)
        )

    def take(self, kind: str, data: bytes) -> None:
        """Have `data` on the clipboard."""
        self.data = data
        for name in TEXT_NAMES if kind == TEXT_NAMES[0] else (kind,):
            number = atom(self.link, name, self.early)
            self.names[number] = self.names[next(iter(self.names))] if name == "TEXT" else number
        self.put(self.window, self.timestamp, 4, 32, b"", mode=2)
        event = whole(self.link, 32)
        while event[0] & 0x7F != 28:
            event = whole(self.link, 32)
        (self.stamp,) = struct.unpack_from("<I", event, 12)
        self.link.sendall(
            struct.pack("<BBHIII", 22, 0, 4, self.window, self.clipboard, self.stamp)
        )  # SetSelectionOwner
        got = reply_to(self.link, struct.pack("<BBHI", 23, 0, 2, self.clipboard), self.early)  # GetSelectionOwner
        if struct.unpack_from("<I", got, 8) != (self.window,):
            raise ValueError
        self.held = True

    def serve(self) -> None:
        """Answer until somebody else has it, and until those have all who asked before."""
        while self.held or self.pieces:
            for event in self.early:
                self.heard(event)
            self.early.clear()
            if select.select([self.link], [], [], FORGET_S if self.pieces else None)[0]:
                self.heard(whole(self.link, 32))
            now = time.monotonic()
            self.pieces = {one: going for one, going in self.pieces.items() if going[2] > now}

    def heard(self, event: bytes) -> None:
        """Act on an event; errors are of askers that are gone."""
        kind = event[0] & 0x7F
        if kind == 30:
            self.answer(*struct.unpack_from("<I4xIIII", event, 4))
        elif kind == 28 and event[16] == 1:
            self.go_on(*struct.unpack_from("<II", event, 4))
        elif kind == 29:
            self.held = False

    def answer(self, when: int, asker: int, selection: int, target: int, place: int) -> None:
        """Serve somebody who asks."""
        place = place or target  # an obsolete client names none
        known = not when or (when - self.stamp) & 0xFFFFFFFF < 1 << 31
        if not (known and self.held):
            place = 0
        elif target == self.targets:
            names = [self.targets, self.timestamp, *self.names]
            self.put(asker, place, 4, 32, struct.pack(f"<{len(names)}I", *names))
        elif target == self.timestamp:
            self.put(asker, place, 19, 32, struct.pack("<I", self.stamp))
        elif target not in self.names:
            place = 0
        elif len(self.data) <= PIECE:
            self.put(asker, place, self.names[target], 8, self.data)
        else:
            self.hear_of(asker, 0x400000)
            self.put(asker, place, self.incr, 32, struct.pack("<I", len(self.data)))
            self.pieces[asker, place] = self.names[target], 0, time.monotonic() + FORGET_S
        told = struct.pack("<BxxxIIIII8x", 31, when, asker, selection, target, place)
        self.link.sendall(struct.pack("<BBHII", 25, 0, 11, asker, 0) + told)  # SendEvent: SelectionNotify

    def go_on(self, asker: int, place: int) -> None:
        """Give the next piece to one that has taken the last; an empty one is the end."""
        if (asker, place) not in self.pieces:
            return
        kind, at, _ = self.pieces.pop((asker, place))
        piece = self.data[at : at + PIECE]
        self.put(asker, place, kind, 8, piece)
        if piece:
            self.pieces[asker, place] = kind, at + len(piece), time.monotonic() + FORGET_S
        elif not any(window == asker for window, _ in self.pieces):
            self.hear_of(asker, 0)

    def hear_of(self, window: int, mask: int) -> None:
        """Have the server tell of a window's properties: ChangeWindowAttributes."""
        self.link.sendall(struct.pack("<BBHIII", 2, 0, 4, window, 0x800, mask))

    def put(self, window: int, place: int, kind: int, bits: int, data: bytes, mode: int = 0) -> None:
        """ChangeProperty: replace what is there, or with mode 2 append to it."""
        words = 6 + (len(data) + 3) // 4
        head = struct.pack("<BBHIIIBxxxI", 18, mode, words, window, place, kind, bits, len(data) * 8 // bits)
        self.link.sendall(head + padded(data))


def own(kind: str) -> None:
    """Have standard input on the clipboard; a process that stays behind owns it."""
    try:
        owner = Owner()
    except (OSError, EOFError, ValueError, IndexError, struct.error):
        sys.exit(3)
    data = bytearray()
    more = os.read(0, 1 << 20)
    while more:
        data += more
        more = os.read(0, 1 << 20)
    owner.take(kind, bytes(data))
    if os.fork():
        os._exit(0)
    # Off everything of who started us: SSH would wait for us to end, as it would for an xclip.
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.closerange(3, owner.link.fileno())
    os.closerange(owner.link.fileno() + 1, 256)
    try:
        owner.serve()
    except (OSError, EOFError):  # the display has ended
        os._exit(0)


def opened() -> tuple[socket.socket, int, int]:
    """Connect to the display; with its root window, and a number for a window of ours."""
    display = os.environ.get("DISPLAY") or ":0"
    host, _, screen = display.rpartition(":")
    number = int(screen.split(".")[0])
    link = connected(host, number)
    name, secret = cookie(str(number).encode())
    link.sendall(struct.pack("<BxHHHHxx", 0x6C, 11, 0, len(name), len(secret)) + padded(name) + padded(secret))
    head = whole(link, 8)
    setup = whole(link, 4 * struct.unpack_from("<H", head, 6)[0])
    if head[0] != 1:
        raise ValueError
    root_at = 32 + (struct.unpack_from("<H", setup, 16)[0] + 3) // 4 * 4 + 8 * setup[21]
    (root,) = struct.unpack_from("<I", setup, root_at)
    (base,) = struct.unpack_from("<I", setup, 4)
    return link, root, base | 1


def atom(link: socket.socket, name: str, early: list[bytes] | None = None) -> int:
    """The number of a name: InternAtom."""
    data = name.encode()
    told = reply_to(link, struct.pack("<BBHHxx", 16, 0, 2 + (len(data) + 3) // 4, len(data)) + padded(data), early)
    return int(struct.unpack_from("<I", told, 8)[0])


def connected(host: str, number: int) -> socket.socket:
    """Connect to the X server of a display."""
    if host not in ("", "unix"):
        return socket.create_connection((host, 6000 + number))
    link = socket.socket(socket.AF_UNIX)
    link.connect(f"/tmp/.X11-unix/X{number}")  # noqa: S108 (where X servers listen)
    return link


def cookie(number: bytes) -> tuple[bytes, bytes]:
    """MIT-MAGIC-COOKIE-1 for the display, out of the Xauthority file (libXau: AuRead.c)."""
    try:
        data = Path(os.environ.get("XAUTHORITY") or "~/.Xauthority").expanduser().read_bytes()
    except OSError:
        return b"", b""
    at = 0
    while at + 2 <= len(data):
        fields: list[bytes] = []
        at += 2
        for _ in range(4):
            (size,) = struct.unpack_from(">H", data, at)
            fields.append(data[at + 2 : at + 2 + size])
            at += 2 + size
        if fields[1] in (b"", number) and fields[2] == b"MIT-MAGIC-COOKIE-1":
            return fields[2], fields[3]
    return b"", b""


def padded(data: bytes) -> bytes:
    """Fill up to four bytes."""
    return data + bytes(-len(data) % 4)


def whole(link: socket.socket, size: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < size:
        more = link.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def reply_to(link: socket.socket, request: bytes, early: list[bytes] | None = None) -> bytes:
    """Send a request and read its reply; events that come before it are kept in `early`, else passed over."""
    link.sendall(request)
    while True:
        head = whole(link, 32)
        if head[0] == 1:
            return head + whole(link, 4 * struct.unpack_from("<I", head, 4)[0])
        if head[0] == 0:
            raise ValueError
        if early is not None:
            early.append(head)


if __name__ == "__main__":
    own(SECOND) if WORD == "own" else watch(float(SECOND))
