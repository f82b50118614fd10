"""SFTP version 3 as OpenSSH speaks it: requests to bytes, bytes to replies. Band: core, no I/O.

draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL file for its differences (SYMLINK has its two paths in the opposite
order) and its extensions. Only the requests that are needed to browse and copy files. Paths are bytes and are not
interpreted.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pommel.errors import ProtocolError

INIT, VERSION, OPEN, CLOSE, READ, WRITE, LSTAT = 1, 2, 3, 4, 5, 6, 7
SETSTAT, FSETSTAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR = 9, 10, 11, 12, 13, 14, 15
REALPATH, STAT, RENAME, READLINK, SYMLINK = 16, 17, 18, 19, 20
EXTENDED, EXTENDED_REPLY = 200, 201
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105

# OpenSSH's extensions, by name: rename over an existing file; the space of a file system; write to the disk.
POSIX_RENAME, STATVFS, FSYNC = b"posix-rename@openssh.com", b"statvfs@openssh.com", b"fsync@openssh.com"

# Codes of a STATUS.
OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = 0, 1, 2, 3, 4

FOR_READING = 0x01
FOR_WRITING = 0x02
FOR_A_NEW_FILE = 0x02 | 0x08 | 0x20  # WRITE, CREAT, EXCL

_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 0x01, 0x02, 0x04, 0x08, 0x80000000
_PACKET_MAX = 256 << 10  # OpenSSH: SFTP_MAX_MSG_LENGTH


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of a file; the server may leave out each of them."""

    size: int = 0
    mode: int = 0
    mtime: int = 0

    @property
    def is_folder(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True, slots=True)
class SftpStatus:
    """The answer to a request without a result, or an error."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class SftpHandle:
    """An open file or folder."""

    handle: bytes


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a file."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Names:
    """Files of a folder, or one path."""

    names: tuple[tuple[bytes, Attributes], ...]


@dataclass(frozen=True, slots=True)
class SftpVersion:
    """The server's greeting: its version, and the names of its extensions."""

    version: int
    extensions: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Extended:
    """The answer of an extension, which the caller reads (`space_of`)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Space:
    """The space of a file system, in bytes: what is free for this user, and all."""

    free: int
    total: int


Reply = Extended | SftpStatus | SftpHandle | Data | Names | Attributes | SftpVersion


def init() -> bytes:
    """The first packet: version 3."""
    return struct.pack(">IBI", 5, INIT, 3)


def request(kind: int, number: int, *fields: bytes) -> bytes:
    """A packet; `fields` are of `string`, `word`, `long` and `attributes`."""
    body = b"".join(fields)
    return struct.pack(">IBI", len(body) + 5, kind, number) + body


def string(data: bytes | memoryview) -> bytes:
    """A field of bytes, preceded by their length."""
    return struct.pack(">I", len(data)) + data


def word(value: int) -> bytes:
    """A field of 32 bits."""
    return struct.pack(">I", value)


def long(value: int) -> bytes:
    """A field of 64 bits."""
    return struct.pack(">Q", value)


def attributes(*, size: int | None = None, mode: int | None = None, mtime: int | None = None) -> bytes:
    """A field that sets the size, permissions and the time of the last change, in seconds since 1970."""
    flags, fields = 0, b""
    if size is not None:
        flags, fields = flags | _SIZE, fields + long(size)
    if mode is not None:
        flags, fields = flags | _MODE, fields + word(mode & 0o7777)
    if mtime is not None:
        seconds = max(0, min(mtime, 0xFFFFFFFF))
        flags, fields = flags | _TIMES, fields + word(seconds) + word(seconds)
    return word(flags) + fields


def space_of(answer: Extended) -> Space:
    """Read the answer of statvfs@openssh.com: eleven fields of 64 bits (OpenSSH, PROTOCOL).

    Raises:
        ProtocolError: it is too short.
    """
    if len(answer.data) < 11 * 8:
        raise ProtocolError("the guest's SFTP server sent an incomplete packet")
    _, unit, blocks, _, free = struct.unpack_from(">5Q", answer.data)
    return Space(free * unit, blocks * unit)


class ReplyReader:
    """Parses the server's bytes, in pieces of any size, into (number of the request, reply)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, Reply]]:
        """Add bytes and yield the replies that are complete.

        Raises:
            ProtocolError: they are not SFTP. The usual reason is a login shell that prints something.
        """
        self._buffer += data
        while len(self._buffer) >= 4:
            (size,) = struct.unpack_from(">I", self._buffer)
            if not 5 <= size <= _PACKET_MAX:
                raise ProtocolError(
                    "the guest's SFTP server sent data that is not SFTP (its login shell may print something)"
                )
            if len(self._buffer) < 4 + size:
                return
            packet = bytes(memoryview(self._buffer)[4 : 4 + size])
            del self._buffer[: 4 + size]
            try:
                yield _reply(_Cursor(packet))
            except (struct.error, IndexError) as cut:
                raise ProtocolError("the guest's SFTP server sent an incomplete packet") from cut


class _Cursor:
    """A place in a packet."""

    def __init__(self, packet: bytes) -> None:
        self._packet, self._at = packet, 0

    def byte(self) -> int:
        self._at += 1
        return self._packet[self._at - 1]

    def word(self) -> int:
        (value,) = struct.unpack_from(">I", self._packet, self._at)
        self._at += 4
        return int(value)

    def long(self) -> int:
        return self.word() << 32 | self.word()

    def string(self) -> bytes:
        size = self.word()
        if len(self._packet) - self._at < size:
            raise IndexError
        self._at += size
        return self._packet[self._at - size : self._at]

    def rest(self) -> bytes:
        return self._packet[self._at :]

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._packet)

    def attributes(self) -> Attributes:
        flags = self.word()
        size = self.long() if flags & _SIZE else 0
        if flags & _OWNER:
            self.long()
        mode = self.word() if flags & _MODE else 0
        mtime = (self.word(), self.word())[1] if flags & _TIMES else 0
        if flags & _EXTENDED:
            for _ in range(2 * self.word()):
                self.string()
        return Attributes(size, mode, mtime)


def _reply(packet: _Cursor) -> tuple[int, Reply]:
    kind, number = packet.byte(), packet.word()
    if kind == VERSION:
        return 0, SftpVersion(number, frozenset(_extensions(packet)))
    if kind == STATUS:
        return number, SftpStatus(packet.word(), packet.string().decode(errors="replace"))
    if kind == HANDLE:
        return number, SftpHandle(packet.string())
    if kind == DATA:
        return number, Data(packet.string())
    if kind == NAME:
        return number, Names(tuple(_name(packet) for _ in range(packet.word())))
    if kind == EXTENDED_REPLY:
        return number, Extended(packet.rest())
    if kind == ATTRS:
        return number, packet.attributes()
    raise ProtocolError(f"the guest's SFTP server sent a packet of kind {kind}")


def _extensions(packet: _Cursor) -> Iterator[bytes]:
    while not packet.is_at_end:
        yield packet.string()
        packet.string()  # its version


def _name(packet: _Cursor) -> tuple[bytes, Attributes]:
    name = packet.string()
    packet.string()  # the line that `ls -l` would print
    return name, packet.attributes()
