"""The facts that macOS gives about the process at the other end of a socket. Band: shell. Not run on a Mac yet.

LOCAL_PEERTOKEN (sys/un.h) is the audit token of the process that used the peer's descriptor last. It contains the pid's
version, so a reused pid has another token. Security.framework accepts it as a handle of the running code
(kSecGuestAttributeAudit). Constants are from Apple's public headers, the signatures of pyobjc's functions from the
metadata in its wheels. `peer` judges the facts.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from typing import Any

from pommel.errors import NotPermitted, UsageError
from pommel.session.peer import Code, Peer
from pommel.session.sessions import framework_of

_SOL_LOCAL = 0  # sys/un.h
_LOCAL_PEERTOKEN = 6  # sys/un.h
# audit_token_t (bsm/audit.h) as the audit_token_to_* functions of libbsm read it
_TOKEN = struct.Struct("=8I")
_EUID, _PID = 1, 5


def peer_uid(connection: socket.socket) -> int:
    """The uid of the other end (getpeereid(3)).

    Raises:
        OSError: it has disconnected.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = ctypes.c_uint32(), ctypes.c_uint32()
    if libc.getpeereid(connection.fileno(), ctypes.byref(uid), ctypes.byref(gid)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return uid.value


def audit_token(connection: socket.socket) -> bytes:
    """The audit token of the peer, from the kernel.

    Raises:
        OSError: it has disconnected.
    """
    return connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERTOKEN, _TOKEN.size)


class CodeCheck:
    """The check of running code against a requirement that was pinned at installation.

    `security` is pyobjc's Security framework.
    """

    def __init__(self, requirement: str, security: Any = None) -> None:
        self._security = security if security is not None else framework_of("Security")
        status, self._requirement = self._security.SecRequirementCreateWithString(requirement, 0, None)
        if status != 0:
            raise UsageError(f"macOS cannot read the code requirement {requirement!r} (status {status})")

    def collect(self, connection: socket.socket, _: int | None = None) -> Peer:
        """Collect the facts about the process that connected.

        Raises:
            OSError: it has disconnected.
        """
        return self.facts(audit_token(connection), peer_uid(connection))

    def facts(self, token: bytes, uid: int) -> Peer:
        """Make the facts from an audit token and the uid from the socket.

        Raises:
            NotPermitted: the token is of another size, or names another uid.
        """
        if len(token) != _TOKEN.size:
            raise NotPermitted(f"an audit token has {_TOKEN.size} bytes, this one {len(token)}")
        words = _TOKEN.unpack(token)
        if words[_EUID] != uid:
            raise NotPermitted(f"uid {uid} connected, uid {words[_EUID]} uses the connection")
        return Peer(uid, words[_PID], code=self._code(token), audit_token=token)

    def _code(self, token: bytes) -> Code | None:
        attributes = {self._security.kSecGuestAttributeAudit: token}
        status, code = self._security.SecCodeCopyGuestWithAttributes(None, attributes, 0, None)
        if status != 0:
            return None
        status = self._security.SecCodeCheckValidity(code, 0, self._requirement)
        return Code(status == 0, self._cdhash(code), "" if status == 0 else self._words(status))

    def _cdhash(self, code: Any) -> str:
        status, facts = self._security.SecCodeCopySigningInformation(code, 0, None)
        unique = facts.get(self._security.kSecCodeInfoUnique) if status == 0 and facts else None
        return bytes(unique).hex() if unique is not None else ""

    def _words(self, status: int) -> str:
        said = self._security.SecCopyErrorMessageString(status, None)
        return f"{said or 'no valid signature'} (status {status})"
