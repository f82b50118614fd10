"""The mutual authentication of a device and its server. Band: core, no I/O.

Binary messages, `u16 type` first, big-endian. T is SHA-384 of the TLS certificate on this connection:

    to the server     5 ServerID · 1 T deviceNonce
    from it           1 T serverNonce · 2 certificate, signature over T deviceNonce serverNonce
    to the server     2 certificate, signature over T serverNonce deviceNonce · 3 the device's identity
    from it           4

TLS alone proves nothing here, because most servers sign their own certificate. Two things prove the server: the hash of
the key in its second certificate is the ServerID of the .msh file, and this key signed T. An attacker in between would
show another T. The device sends nothing about itself before this is checked.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from enum import IntEnum

from pommel.errors import DeadlineError, ProtocolError
from pommel.mesh.keys import DeviceIdentity, fingerprint, is_signed, key_of, sha384

NONCE_BYTES = 48
DEADLINE_S = 20.0
_SHORT = struct.Struct(">H")
_HASHES = struct.Struct(">H48s48s")
_REJOIN = "if the server was installed again: download its .msh file again, then run pommel mesh join with it"


class HandshakeType(IntEnum):
    """Types of the messages, either way."""

    HASHES = 1
    PROOF = 2
    INTRODUCTION = 3
    WELCOME = 4
    SERVER_ID = 5


_TYPES = frozenset(HandshakeType)


class ServerRefused(ProtocolError):
    """The server is not the one of the .msh file, or cannot prove it: it got no information."""


Answer = tuple[bytes, ...]


class Handshake:
    """One handshake. Send `opening`, give each binary message to `receive` and send its result.

    `presented` is the DER of the connection's TLS certificate, `introduction` message 3 (`agent.introduction`) and
    `nonce` 48 random bytes, never used before.
    """

    def __init__(
        self, server_id: bytes, presented: bytes, identity: DeviceIdentity, introduction: bytes, nonce: bytes
    ) -> None:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
        self._server_id = server_id
        self._tls_hash = sha384(presented)
        self._identity = identity
        self._introduction = introduction
        self._nonce = nonce
        self._steps = self._run()
        self._refusal: ProtocolError | None = None
        self.proved = False  # the server has proved its identity; from then on it knows ours
        self.welcome = False
        self.opening: Answer = next(self._steps)

    def receive(self, message: bytes) -> Answer:
        """Take one binary message from the server; return the messages to send. `welcome` is true at the end.

        Raises:
            ServerRefused: it is the wrong server, or cannot prove to be the right one.
            ProtocolError: its message is not allowed here.
        """
        if self._refusal is not None:
            raise self._refusal  # all steps are done; else the end of the generator would count as a welcome
        if self.welcome:
            raise ProtocolError("the handshake is over")
        if message[:1] == b"{" or _type_of(message) not in _TYPES:
            return ()  # a server that pings its agents does so from the beginning
        try:
            return self._steps.send(message)
        except StopIteration:
            self.welcome = True
            return ()
        except ProtocolError as refusal:
            self._refusal = refusal
            raise

    def _run(self) -> Generator[Answer, bytes, None]:
        opening = (
            _SHORT.pack(HandshakeType.SERVER_ID) + self._server_id,
            _HASHES.pack(HandshakeType.HASHES, self._tls_hash, self._nonce),
        )
        server_nonce = self._read_hashes((yield opening))
        self._check_proof((yield ()), server_nonce)
        self.proved = True
        welcome = yield (self._proof(server_nonce), self._introduction)
        _expect(welcome, HandshakeType.WELCOME)

    def _read_hashes(self, message: bytes) -> bytes:
        _expect(message, HandshakeType.HASHES)
        if len(message) != _HASHES.size:
            raise ProtocolError(f"the server's hashes have {len(message)} bytes; they are {_HASHES.size}")
        _, tls_hash, nonce = _HASHES.unpack(message)
        if tls_hash != self._tls_hash:
            raise ServerRefused(
                "the server reports a different TLS certificate than this connection shows: a proxy between them "
                "decrypts the connection",
                hint="connect to the server directly, or configure its proxy to pass TLS through; then try again",
            )
        return bytes(nonce)

    def _check_proof(self, message: bytes, server_nonce: bytes) -> None:
        _expect(message, HandshakeType.PROOF)
        if len(message) < 2 * _SHORT.size:
            raise ProtocolError("the server's proof ends before its certificate")
        (length,) = _SHORT.unpack_from(message, _SHORT.size)
        certificate, signature = message[4 : 4 + length], message[4 + length :]
        if len(certificate) != length or not signature:
            raise ProtocolError("the server's proof ends within its certificate or before its signature")
        key = key_of(certificate)
        if fingerprint(key) != self._server_id:
            raise ServerRefused(
                f"this is not the server of the .msh file: that one is {self._server_id.hex()[:16]}…, "
                f"this one {fingerprint(key).hex()[:16]}…",
                hint=_REJOIN,
            )
        if not is_signed(key, signature, self._tls_hash + self._nonce + server_nonce):
            raise ServerRefused(
                "the server's signature is wrong: it does not have the key of its certificate, or a proxy shows "
                "a different TLS certificate",
                hint=_REJOIN,
            )

    def _proof(self, server_nonce: bytes) -> bytes:
        identity = self._identity
        signature = identity.sign(self._tls_hash + server_nonce + self._nonce)
        return (
            _SHORT.pack(HandshakeType.PROOF) + _SHORT.pack(len(identity.certificate)) + identity.certificate + signature
        )


def held_in_silence(*, proved: bool) -> DeadlineError:
    """The error for a server that keeps the connection open but sends nothing for `DEADLINE_S`.

    `proved`: it had proved its identity, and had got ours.
    """
    if proved:
        return DeadlineError(
            f"the server accepted this device but has sent nothing for {DEADLINE_S:g} s",
            hint="check on the server whether the device group still exists, whether its limit of devices or "
            "connected agents is reached, and whether this device connected too often recently",
        )
    return DeadlineError(
        f"the server accepted the connection but has sent nothing for {DEADLINE_S:g} s",
        hint="this happens when a proxy in front of the server shows a TLS certificate that the server does not "
        "know: look for 'bad web cert hash' in its log, and set tlsOffload or certUrl in its config.json",
    )


def _type_of(message: bytes) -> int:
    return int(_SHORT.unpack_from(message)[0]) if len(message) >= _SHORT.size else -1


def _expect(message: bytes, what: HandshakeType) -> None:
    if (found := _type_of(message)) != what:
        raise ProtocolError(f"the server sends {HandshakeType(found).name} instead of {what.name}")
