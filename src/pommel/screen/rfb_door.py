"""The server's side of RFB's handshake, and the filter for a view-only viewer. Band: core, no I/O.

RFC 6143, 7.1 and 7.2.2 (VNC Authentication). QEMU's VNC server is behind a socket that only its user can open. This
module asks for the password of a viewer that connects to a port. After that, the viewer and QEMU exchange their bytes
directly.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Generator

from pommel.errors import RfbError

CHALLENGE_SIZE = 16
PASSWORD_SIZE = 8  # VNC Authentication uses only the first eight bytes of a password
_VERSION = re.compile(rb"RFB (\d{3})\.(\d{3})\n\Z")
_NONE, _VNC = 1, 2
_REASON = b"wrong password"
# The sizes of client messages that change nothing (RFC 6143, 7.5; rfbproto: 150 is continuous updates).
_LOOKS = {0: 20, 3: 10, 150: 10}
_ACTS = {4: 8, 5: 6, 250: 4}  # the sizes of messages that act: keys, pointer, xvp
# Messages with a size of their own: the length of the head that contains it, and whether the message changes nothing.
_HEADS = {2: (4, True), 6: (8, False), 248: (9, True), 251: (8, False), 255: (4, True)}
_LONGEST_TEXT = 1 << 24
_FILE_KEY = bytes((23, 82, 107, 6, 35, 78, 88, 7))  # the fixed key of all VNC password files (vncpasswd(1))


def answer(password: bytes, challenge: bytes) -> bytes:
    """The right answer to `challenge` for `password`: DES with the bits of each key byte reversed."""
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password[:PASSWORD_SIZE].ljust(PASSWORD_SIZE, b"\0"))
    cipher = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()  # noqa: S305 -- the protocol requires it
    return cipher.update(challenge) + cipher.finalize()


def as_file(password: bytes) -> bytes:
    """A password file for `vncviewer -passwd`. Its fixed key protects nothing, so only its user may read the file."""
    return answer(_FILE_KEY, password[:PASSWORD_SIZE].ljust(PASSWORD_SIZE, b"\0"))


class RfbDoor:
    """The handshake with one viewer. `out` must be sent; `is_open`: it was admitted; `rest`: its bytes after that."""

    def __init__(self, password: bytes | None, challenge: bytes) -> None:
        self.out = bytearray()
        self.is_open = False
        self.rest = b""
        self._password, self._challenge = password, challenge
        self._received = bytearray()
        self._steps = self._greet()
        next(self._steps)

    def receive_data(self, data: bytes) -> None:
        """Read bytes of the viewer.

        Raises:
            RfbError: it breaks the protocol, or its password is wrong; `out` then has the answer for it.
        """
        self._received += data
        if not self.is_open:
            try:
                next(self._steps)
            except StopIteration:
                self.is_open = True
        if self.is_open:
            self.rest += bytes(self._received)
            self._received.clear()

    def _read(self, size: int) -> Generator[None, None, bytes]:
        while len(self._received) < size:
            yield
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def _greet(self) -> Generator[None, None, None]:
        self.out += b"RFB 003.008\n"
        match = _VERSION.match((yield from self._read(12)))
        if match is None or int(match[1]) != 3 or int(match[2]) < 3:
            raise RfbError("the viewer does not support RFB 3.3 or newer")
        minor = int(match[2])
        kind = _NONE if self._password is None else _VNC
        if minor < 7:
            self.out += kind.to_bytes(4, "big")
        else:
            self.out += bytes((1, kind))
            if (yield from self._read(1))[0] != kind:
                raise RfbError("the viewer does not support VNC password authentication")
        if self._password is not None:
            self.out += self._challenge
            said = yield from self._read(CHALLENGE_SIZE)
            if not hmac.compare_digest(said, answer(self._password, self._challenge)):
                reason = len(_REASON).to_bytes(4, "big") + _REASON if minor >= 8 else b""
                self.out += (1).to_bytes(4, "big") + reason
                raise RfbError("a wrong password")
        if self._password is not None or minor >= 8:
            self.out += bytes(4)


class OnlyLooking:
    """A filter that passes only requests for pictures: no keys, no pointer, no text, no change of the screen's size."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._skip = 0
        self._begun = False

    def receive_data(self, data: bytes) -> bytes:
        """Read bytes that the viewer sent after the handshake; return those that may be sent to the server.

        Raises:
            RfbError: a message is of unknown type, so its size is unknown too.
        """
        self._received += data
        passed = bytearray()
        if not self._begun and self._received:
            passed += self._received[:1]  # ClientInit: whether it wants to share the screen
            del self._received[:1]
            self._begun = True
        while self._received:
            if self._skip:
                gone = min(self._skip, len(self._received))
                del self._received[:gone]
                self._skip -= gone
                continue
            size, looks = self._measure()
            if size is None or (looks and len(self._received) < size):
                break
            if looks:
                passed += self._received[:size]
                del self._received[:size]
            else:
                self._skip = size
        return bytes(passed)

    def _measure(self) -> tuple[int | None, bool]:
        """The size of the next message (None: not known yet), and whether it changes nothing."""
        kind = self._received[0]
        if kind in _LOOKS:
            return _LOOKS[kind], True
        if kind in _ACTS:
            return _ACTS[kind], False
        if kind not in _HEADS:
            raise RfbError(f"message {kind}, which is unknown")
        head, looks = _HEADS[kind]
        if len(self._received) < head:
            return None, looks
        if kind == 255:
            return self._qemu()
        return self._whole(kind), looks

    def _whole(self, kind: int) -> int:
        """The size of a message that contains its size."""
        if kind == 2:  # encodings
            return 4 + 4 * self._number(2, 2)
        if kind == 248:  # a fence: the server sends its payload back
            return 9 + self._received[8]
        if kind == 251:  # SetDesktopSize, with a list of screens
            return 8 + 16 * self._received[6]
        size = abs(int.from_bytes(self._received[4:8], "big", signed=True))  # negative: the extended clipboard's
        if size > _LONGEST_TEXT:
            raise RfbError(f"a text of {size} bytes")
        return 8 + size

    def _qemu(self) -> tuple[int, bool]:
        """The size of QEMU's own messages: 0 is a key; 1 is sound, whose operation 2 sets the format."""
        if self._received[1] == 0:
            return 12, False
        if self._received[1] != 1:
            raise RfbError(f"QEMU's message {self._received[1]}, which is unknown")
        return (10 if self._number(2, 2) == 2 else 4), True

    def _number(self, start: int, size: int) -> int:
        return int.from_bytes(self._received[start : start + size], "big")
