"""Says when an X11 guest's clipboard may have changed: a line "look" for each change of its owner, and now and then.

Runs on the guest, for `guest.sh`: sent over SSH, never stored, imported by nothing. Where there is no X11 display, a
line each so many seconds as the argument says. Only the standard library, and only the requests that this takes (X11
protocol, appendix B; XFIXES 2.0). Band: shell.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from pathlib import Path

EVERY_S = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
PARENT = int(sys.argv[2]) if sys.argv[2:] and sys.argv[2] != "0" else os.getppid()
ALONE_S = 0.5
NOW_AND_THEN_S = 5.0  # should pbpaste look at another display than we do


def main() -> None:
    """Watch until nobody reads any more."""
    while True:
        try:
            link = watched()
            while True:
                look()
                await_change(link)
        except (OSError, EOFError, ValueError, IndexError, struct.error):
            look()
            end_if_alone()
            time.sleep(EVERY_S)


def await_change(link: socket.socket) -> None:
    """Wait for an event, or for it to be time to look anyway."""
    for _ in range(round(NOW_AND_THEN_S / ALONE_S)):
        if select.select([link], [], [], ALONE_S)[0]:
            whole(link, 32)
            return
        end_if_alone()


def end_if_alone() -> None:
    """End, and say so, if the shell that started this is gone."""
    if os.getppid() != PARENT:
        say(b"end\n")
        os._exit(0)


def look() -> None:
    """Have the clipboard looked at."""
    say(b"look\n")


def say(line: bytes) -> None:
    """Tell `publish`; end if it is gone."""
    try:
        os.write(1, line)
    except OSError:
        os._exit(0)


def watched() -> socket.socket:
    """Connect to the display and ask for its clipboard's changes: XFixesSelectionNotify, 32 bytes each."""
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
    told = asked(link, struct.pack("<BBHHxx", 98, 0, 4, 6) + b"XFIXES\0\0")  # QueryExtension
    if not told[8]:
        raise ValueError
    asked(link, struct.pack("<BBHII", told[9], 0, 3, 2, 0))  # XFixesQueryVersion
    (clipboard,) = struct.unpack_from(
        "<I",
        asked(link, struct.pack("<BBHHxx", 16, 0, 5, 9) + b"CLIPBOARD\0\0\0"),
        8,  # InternAtom
    )
    link.sendall(struct.pack("<BBHIII", told[9], 2, 4, root, clipboard, 1))  # XFixesSelectSelectionInput
    return link


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


def asked(link: socket.socket, request: bytes) -> bytes:
    """Send a request and read its reply; events are passed over."""
    link.sendall(request)
    while True:
        head = whole(link, 32)
        if head[0] == 1:
            return head + whole(link, 4 * struct.unpack_from("<I", head, 4)[0])
        if head[0] == 0:
            raise ValueError


if __name__ == "__main__":
    main()
