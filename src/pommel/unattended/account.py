"""A local account of macOS as a file: the record of its user, with the hash of the password. Band: core, no I/O.

Formats: `ShadowHashData` is a binary property list with SALTED-SHA512-PBKDF2 {entropy, salt, iterations}, as macOS
10.8 and later write it; the record is that of DSLocal (one file per user, each attribute is an array). The password
itself is hashed on the host, so that it never enters the guest.
"""

from __future__ import annotations

import hashlib
import plistlib
import uuid as uuids

SALT_BYTES = 32
ITERATIONS = 50_000
_ENTROPY_BYTES = 128
UID, GID_STAFF = 501, 20


def shadow_hash(password: str, salt: bytes, *, iterations: int = ITERATIONS) -> bytes:
    """The binary property list for ShadowHashData; `salt` is 32 random bytes."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    entropy = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, _ENTROPY_BYTES)
    hashed = {"entropy": entropy, "salt": salt, "iterations": iterations}
    return plistlib.dumps({"SALTED-SHA512-PBKDF2": hashed}, fmt=plistlib.FMT_BINARY)


def record(user: str, full_name: str, guid: uuids.UUID, shadow: bytes | None) -> bytes:
    """The user's record for dslocal/nodes/Default/users/USER.plist; without `shadow` it has no password.

    An account without a password's hash cannot log in at the login window, but it can with its SSH key.
    """
    attributes: dict[str, list[object]] = {
        "name": [user],
        "realname": [full_name],
        "uid": [str(UID)],
        "gid": [str(GID_STAFF)],
        "home": [f"/Users/{user}"],
        "shell": ["/bin/zsh"],
        "generateduid": [str(guid).upper()],
        "passwd": ["********"],
        "_writers_hint": [user],
        "_writers_jpegphoto": [user],
        "_writers_passwd": [user],
        "_writers_picture": [user],
        "_writers_realname": [user],
    }
    if shadow is not None:
        attributes["authentication_authority"] = [";ShadowHash;HASHLIST:<SALTED-SHA512-PBKDF2>"]
        attributes["ShadowHashData"] = [shadow]
    return plistlib.dumps(attributes, fmt=plistlib.FMT_BINARY)
