"""A client of SMB 2.1 that sends what it is told to, for a guest that keeps to no rules. Names go as they are."""

from __future__ import annotations

import socket
import struct

OK, DENIED, NO_NAME, NO_SHARE, FULL, READ_ONLY = 0, 0xC0000022, 0xC0000034, 0xC00000CC, 0xC000007F, 0xC00000A2
READ, WRITE, ALL = 0x80000000, 0x40000000, 0x10000000
OPEN, MAKE, OPEN_OR_MAKE = 1, 2, 3
FOLDER = 1  # as an option of `create`
_MORE = 0xC0000016
_NTLM_FLAGS = 0x00008201  # Unicode, NTLM, always sign


class Smb:
    """One connection, and the session and the share on it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.message = self.session = self.tree = 0
        self._negotiate()
        self._log_in()

    def connect(self, share: str) -> int:
        """Ask for a share; return the status."""
        path = f"\\\\10.0.2.4\\{share}".encode("utf-16-le")
        status, _ = self.ask(3, struct.pack("<HHHH", 9, 0, 72, len(path)) + path)
        return status

    def create(
        self, name: str, access: int = READ, how: int = OPEN, options: int = 0, attributes: int = 0
    ) -> tuple[int, bytes]:
        """Open or make a file by this very name; return the status and its handle."""
        raw = name.encode("utf-16-le", "surrogatepass")
        body = struct.pack(
            "<HBBIQQIIIIIHHII", 57, 0, 0, 2, 0, 0, access, attributes, 7, how, options, 120, len(raw), 0, 0
        )
        status, told = self.ask(5, body + (raw or b"\0"))
        return status, told[64:80] if status == OK else b""

    def write(self, handle: bytes, data: bytes, at: int = 0) -> int:
        """Write; return the status."""
        return self.ask(9, struct.pack("<HHIQ16sIIHHI", 49, 112, len(data), at, handle, 0, 0, 0, 0, 0) + data)[0]

    def read(self, handle: bytes, count: int, at: int = 0) -> bytes:
        """Read; nothing where that is refused."""
        body = struct.pack("<HBBIQ16sIIIHHB", 49, 0, 0, count, at, handle, 0, 0, 0, 0, 0, 0)
        status, told = self.ask(8, body)
        return told[16:] if status == OK else b""

    def set_info(self, handle: bytes, kind: int, data: bytes) -> int:
        """Change something of a file: 10 is its name, 11 makes a link, 20 is its size; return the status."""
        return self.ask(17, struct.pack("<HBBIHHI16s", 33, 1, kind, len(data), 96, 0, 0, handle) + data)[0]

    def rename(self, handle: bytes, name: str, *, link: bool = False) -> int:
        """Give an open file this very name, or one more."""
        raw = name.encode("utf-16-le")
        return self.set_info(handle, 11 if link else 10, struct.pack("<B7xQI", 1, 0, len(raw)) + raw)

    def control(self, handle: bytes, code: int, data: bytes) -> int:
        """A control code of a file system, such as the one that makes a link of a file; return the status."""
        body = struct.pack("<HHI16sIIIIIIII", 57, 0, code, handle, 120, len(data), 0, 120, 0, 65536, 1, 0)
        return self.ask(11, body + data)[0]

    def close(self, handle: bytes) -> None:
        """Let a file go."""
        self.ask(6, struct.pack("<HHI16s", 24, 0, 0, handle))

    def put(self, name: str, data: bytes = b"x") -> int:
        """Make a file of this name with this in it; return the status of what failed, or of all."""
        status, handle = self.create(name, WRITE | READ, OPEN_OR_MAKE)
        if status == OK:
            status = self.write(handle, data)
            self.close(handle)
        return status

    def get(self, name: str) -> bytes | int:
        """What is in a file; the status, where it cannot be opened."""
        status, handle = self.create(name)
        if status != OK:
            return status
        data = self.read(handle, 65536)
        self.close(handle)
        return data

    def ask(self, command: int, body: bytes) -> tuple[int, bytes]:
        """Send one request; return the status of the answer and its body."""
        head = struct.pack(
            "<4sHHIHHIIQIIQ16s", b"\xfeSMB", 64, 1, 0, command, 64, 0, 0, self.message, 0, self.tree, self.session, b""
        )
        self.message += 1
        self.connection.sendall(struct.pack(">I", len(head + body)) + head + body)
        while True:
            told = self._exactly(struct.unpack(">I", self._exactly(4))[0])
            status, tree, session = struct.unpack_from("<8xI", told)[0], *struct.unpack_from("<IQ", told, 36)
            if status != 0x103:  # pending: the answer is to come
                break
        if command == 1:
            self.session = session
        if command == 3:
            self.tree = tree
        return status, told[64:]

    def _negotiate(self) -> None:
        self.ask(0, struct.pack("<HHHHI16sQH", 36, 1, 1, 0, 0, b"\x11" * 16, 0, 0x0210))

    def _log_in(self) -> None:
        hello = struct.pack("<8sII16x", b"NTLMSSP\0", 1, _NTLM_FLAGS)
        user, at = "guest".encode("utf-16-le"), 64
        fields, payload = b"", b""
        for each in (b"\0" * 24, b"\1" * 24, b"", user, b"", b""):  # LM, NT, domain, user, host, key
            fields += struct.pack("<HHI", len(each), len(each), at + len(payload))
            payload += each
        for token, wanted in (
            (hello, _MORE),
            (struct.pack("<8sI", b"NTLMSSP\0", 3) + fields + struct.pack("<I", _NTLM_FLAGS) + payload, OK),
        ):
            status, _ = self.ask(1, struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, len(token), 0) + token)
            assert status == wanted, hex(status)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.connection.recv(count - len(data))
            if not more:
                raise ConnectionError("the server has hung up")
            data += more
        return data
