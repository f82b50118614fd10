"""The server's side of RFB's handshake, and what of a viewer may pass that only looks. Band: core, no I/O.

RFC 6143, 7.1 and 7.2.2 (VNC Authentication). A VNC server of QEMU's stands behind a socket that only its user can
open; this is the door for a viewer that comes by a port. After the door the bytes are between the viewer and QEMU.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Generator

from pommel.errors import RfbError

CHALLENGE_SIZE = 16
PASSWORD_SIZE = 8  # what VNC Authentication takes of a password
_VERSION = re.compile(rb"RFB (\d{3})\.(\d{3})\n\Z")
_NONE, _VNC = 1, 2
_REASON = b"wrong password"
# Client messages of a fixed size (RFC 6143, 7.5; rfbproto: 150 continuous updates), of those that change nothing.
_LOOKS = {0: 20, 3: 10, 150: 10}
_ACTS = {4: 8, 5: 6, 250: 4}  # keys, pointer, xvp
# Those that say their size themselves: how much of them says it, and whether they only look.
_HEADS = {2: (4, True), 6: (8, False), 248: (9, True), 251: (8, False), 255: (4, True)}
_LONGEST_TEXT = 1 << 24
_FILE_KEY = bytes((23, 82, 107, 6, 35, 78, 88, 7))  # of the password files of all VNC programs (vncpasswd(1))


def answer(password: bytes, challenge: bytes) -> bytes:
    """What a viewer that knows `password` answers to `challenge`: DES with each byte of the key reversed."""
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password[:PASSWORD_SIZE].ljust(PASSWORD_SIZE, b"\0"))
    cipher = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()  # noqa: S305 -- what the protocol is
    return cipher.update(challenge) + cipher.finalize()


def as_file(password: bytes) -> bytes:
    """A password file as `vncviewer -passwd` reads it; it hides nothing, and is for its user alone."""
    return answer(_FILE_KEY, password[:PASSWORD_SIZE].ljust(PASSWORD_SIZE, b"\0"))


class Door:
    """Let one viewer in. `out` is to be sent, `is_open` says that it is in, and `rest` is what it said after that."""

    def __init__(self, password: bytes | None, challenge: bytes) -> None:
        self.out = bytearray()
        self.is_open = False
        self.rest = b""
        self._password, self._challenge = password, challenge
        self._received = bytearray()
        self._steps = self._greet()
        next(self._steps)

    def receive_data(self, data: bytes) -> None:
        """Take what the viewer sent.

        Raises:
            RfbError: it does not keep to the protocol, or knows no password; `out` says so to it.
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
    """Pass on what asks for pictures, and nothing that acts: no key, no pointer, no text, no size of the screen."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._skip = 0
        self._begun = False

    def receive_data(self, data: bytes) -> bytes:
        """Take what the viewer sent after the handshake, and return what of it may go to the server.

        Raises:
            RfbError: a message that is not known, whose size is thus not known either.
        """
        self._received += data
        passed = bytearray()
        if not self._begun and self._received:
            passed += self._received[:1]  # whether it wants to share the screen
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
        """The size of the message that begins here (None: not known yet), and whether it only looks."""
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
        """The size of a message that says its own."""
        if kind == 2:  # encodings
            return 4 + 4 * self._number(2, 2)
        if kind == 248:  # a fence: what it carries comes back
            return 9 + self._received[8]
        if kind == 251:  # a size of the screen, with its parts
            return 8 + 16 * self._received[6]
        size = abs(int.from_bytes(self._received[4:8], "big", signed=True))  # negative: the extended clipboard's
        if size > _LONGEST_TEXT:
            raise RfbError(f"a text of {size} bytes")
        return 8 + size

    def _qemu(self) -> tuple[int, bool]:
        """QEMU's own messages: 0 a key, 1 sound, of which 2 sets the form."""
        if self._received[1] == 0:
            return 12, False
        if self._received[1] != 1:
            raise RfbError(f"QEMU's message {self._received[1]}, which is unknown")
        return (10 if self._number(2, 2) == 2 else 4), True

    def _number(self, start: int, size: int) -> int:
        return int.from_bytes(self._received[start : start + size], "big")
