"""A guest's end of a 9p device that keeps to no rules: the real QEMU, driven by its qtest socket. No tests here.

Its processors stand (-S), and this process writes its guest's memory and the device's registers in their place
(docs/devel/qtest.rst). The device is a transitional one on a PCI bus (Virtual I/O Device 1.1, 4.1.4.8), and what is
said to it is 9P2000.L (diod's protocol.md).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from isolation import patient
from pommel.machine.rules.shares import fsdev
from pommel.machine.shares import Share

_ID, _BAR = 0x10091AF4, 0xC000  # virtio-9p's of before version 1, and where its registers are put
_RING, _ASK, _ANSWER = 0x100000, 0x200000, 0x400000
_ROOM = 1 << 20
_NEXT, _WRITE = 1, 2
NOFID = 0xFFFFFFFF
VERSION, ATTACH, WALK, LOPEN, LCREATE, SYMLINK, MKNOD, READLINK = 100, 104, 110, 12, 14, 16, 18, 22
GETATTR, SETATTR, XATTRWALK, XATTRCREATE, READDIR, LINK, MKDIR = 24, 26, 30, 32, 40, 70, 72
RENAME, UNLINK, READ, WRITE, CLUNK, _ERROR = 74, 76, 116, 118, 120, 7
SET_MODE, SET_UID, SET_SIZE = 1, 2, 8


class Machine:
    """A QEMU that has one folder by 9p, and nothing else."""

    def __init__(self, place: Path, words: Sequence[str], before: Sequence[str], limit: int | None) -> None:
        argv = [
            *before,
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-S",
            "-machine",
            "pc",
            "-nodefaults",
            "-display",
            "none",
        ]
        argv += ["-m", "16", "-qtest", f"unix:{place}/q,server=on,wait=off", "-qtest-log", "/dev/null"]
        argv += ["-qmp", f"unix:{place}/m,server=on,wait=off", *words]
        self.qmp, self.log = place / "m", place / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*(["prlimit", f"--fsize={limit}"] if limit else []), *argv],
                stdout=log,
                stderr=log,
                preexec_fn=lambda: os.umask(0o077),  # as Pommel starts QEMU
            )
        self._socket = self._connected(place / "q")
        self._lines = self._socket.makefile("rb")
        self._pci()
        self._begin()

    def _connected(self, path: Path) -> socket.socket:
        until = time.monotonic() + patient(30)
        while True:
            there = socket.socket(socket.AF_UNIX)
            there.settimeout(patient(30))
            try:
                there.connect(str(path))
            except OSError:
                there.close()
                assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
                time.sleep(0.01)
            else:
                return there

    def _say(self, *words: object) -> str:
        self._socket.sendall(
            " ".join(hex(word) if isinstance(word, int) else str(word) for word in words).encode() + b"\n"
        )
        answer = self._lines.readline().decode().split()
        assert answer and answer[0] == "OK", (words, answer, self.log.read_text())
        return answer[-1]

    def _pci(self) -> None:
        for slot in range(1, 32):
            where = 0x80000000 | slot << 11
            self._say("outl", 0xCF8, where)
            if int(self._say("inl", 0xCFC), 16) == _ID:
                self._say("outl", 0xCF8, where | 0x10)
                self._say("outl", 0xCFC, _BAR)
                self._say("outl", 0xCF8, where | 4)
                self._say("outl", 0xCFC, 7)  # ports, memory, and the bus for itself
                return
        raise AssertionError("there is no virtio-9p device")

    def _begin(self) -> None:
        """Reset the device, and give it one queue."""
        for status in (0, 1, 3):
            self._say("outb", _BAR + 0x12, status)
        self._say("outl", _BAR + 4, 0)  # no features
        self._say("outw", _BAR + 0xE, 0)
        self._size = int(self._say("inw", _BAR + 0xC), 16)
        self._say("memset", _RING, 1 << 16, 0)
        self._say("outl", _BAR + 8, _RING >> 12)
        self._say("outb", _BAR + 0x12, 7)
        self._count = 0

    def raw(self, message: bytes, *, wait: bool = True) -> bytes:
        """Put a message into the queue, and return what comes back; without `wait`, nothing needs to."""
        self._say("write", _ASK, len(message), f"0x{message.hex()}")
        table = struct.pack("<QIHH", _ASK, len(message), _NEXT, 1) + struct.pack("<QIHH", _ANSWER, _ROOM, _WRITE, 0)
        self._say("write", _RING, len(table), f"0x{table.hex()}")
        ring = _RING + 16 * self._size
        self._say("writew", ring + 4 + 2 * (self._count % self._size), 0)
        self._count += 1
        self._say("writew", ring + 2, self._count & 0xFFFF)
        self._say("outw", _BAR + 0x10, 0)
        used = _RING + ((16 * self._size + 6 + 2 * self._size + 4095) & ~4095)
        until = time.monotonic() + (patient(20) if wait else 0.3)
        while int(self._say("readw", used + 2), 16) != self._count & 0xFFFF:
            if not wait and time.monotonic() > until:
                return b""
            assert time.monotonic() < until, "the device does not answer"
        size = min(int(self._say("readl", _ANSWER), 16), _ROOM)
        return bytes.fromhex(self._say("read", _ANSWER, size)[2:]) if size else b""

    def again(self) -> None:
        """Begin anew, as a guest's kernel does that loads its driver again."""
        self._begin()
        self.ask(VERSION, struct.pack("<I", 1 << 19), "9P2000.L")

    def ask(self, kind: int, *parts: bytes | str | int) -> bytes:
        """Ask; a text is a name, a number has 32 bits. Return the answer's body.

        Raises:
            OSError: the device refuses; with its number.
        """
        body = b"".join(_packed(part) for part in parts)
        tag = 0xFFFF if kind == VERSION else 1
        answer = self.raw(struct.pack("<IBH", 7 + len(body), kind, tag) + body)
        if answer[4] == _ERROR:
            raise OSError(*struct.unpack_from("<I", answer, 7), "by 9p")
        assert answer[4] == kind + 1, answer
        return answer[7:]

    def attach(self, fid: int = 0, uid: int = 0) -> None:
        """Mount it, as the guest's user `uid`."""
        self.ask(VERSION, struct.pack("<I", 1 << 19), "9P2000.L")
        self.ask(ATTACH, fid, NOFID, "", "", uid)

    def walk(self, fid: int, new: int, *names: str) -> bytes:
        """Have `new` be what is found by `names` from `fid` on; return the last one's 13 bytes of qid."""
        told = self.ask(WALK, fid, new, struct.pack("<H", len(names)), *names)
        (found,) = struct.unpack_from("<H", told)
        if found < len(names):
            raise OSError(2, "not all of the way")
        return told[-13:]

    def create(self, fid: int, name: str, data: bytes = b"", mode: int = 0o644) -> None:
        """Make a file in the folder that is `fid`, which becomes the file."""
        self.ask(LCREATE, fid, name, os.O_RDWR, mode, 0)
        if data:
            self.ask(WRITE, fid, struct.pack("<QI", 0, len(data)) + data)

    def put(self, name: str, data: bytes, *, root: int = 0, fid: int = 90) -> None:
        """Make a file with `data`."""
        self.walk(root, fid)
        try:
            self.create(fid, name, data)
        finally:
            self.ask(CLUNK, fid)

    def get(self, *names: str, root: int = 0, fid: int = 91) -> bytes:
        """What is in a file."""
        self.walk(root, fid, *names)
        try:
            self.ask(LOPEN, fid, os.O_RDONLY)
            return self.ask(READ, fid, struct.pack("<QI", 0, 65536))[4:]
        finally:
            self.ask(CLUNK, fid)

    def attributes(self, fid: int) -> tuple[int, int, int, int]:
        """Mode, owner, group and size, as the guest sees them."""
        told = self.ask(GETATTR, fid, struct.pack("<Q", 0x7FF))
        mode, uid, gid = struct.unpack_from("<III", told, 8 + 13)
        (size,) = struct.unpack_from("<Q", told, 8 + 13 + 12 + 16)
        return mode, uid, gid, size

    def set(self, fid: int, what: int, *, mode: int = 0, uid: int = 0, size: int = 0) -> None:
        """Change some of them: SET_MODE, SET_UID, SET_SIZE."""
        self.ask(SETATTR, fid, what, mode, uid, 0, struct.pack("<QQQQQ", size, 0, 0, 0, 0))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._lines.close()
        self._socket.close()


@contextlib.contextmanager
def machine(share: Share, *, before: Sequence[str] = (), limit: int | None = None) -> Iterator[Machine]:
    """A QEMU that has `share`, by the words that Pommel has for it; `before` are the words of what starts it."""
    words = ["-fsdev", fsdev(share, share.folder), "-device", f"virtio-9p-pci,fsdev=pommel-9p-{share.name},mount_tag=t"]
    with tempfile.TemporaryDirectory(prefix="pm-") as place:
        found = Machine(Path(place), words, before, limit)
        try:
            yield found
        finally:
            found.close()


def _packed(part: bytes | str | int) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, int):
        return struct.pack("<I", part)
    return struct.pack("<H", len(part.encode())) + part.encode()
