"""A device's key and certificate on disk. Band: shell.

One file that only its owner can read, written whole. The server knows a device only by this key: with a copy of the
file, another computer can pretend to be the device, and without the file the device becomes a new one.
"""

from __future__ import annotations

import stat
from pathlib import Path

from pommel.errors import NotPermitted, StateError
from pommel.mesh.keys import DeviceIdentity, from_pem, new_identity, to_pem
from pommel.paths import write_atomic

_ANYBODY_ELSE = stat.S_IRWXG | stat.S_IRWXO


def keep_identity(file: Path) -> DeviceIdentity:
    """The identity in `file`; it is made if it is missing.

    Raises:
        StateError: the file is damaged.
        NotPermitted: other users may read it.
    """
    if not file.exists():
        identity = new_identity()
        write_atomic(file, to_pem(identity), mode=0o600)
    return read_identity(file)


def read_identity(file: Path) -> DeviceIdentity:
    """Return the identity in `file`; otherwise as `keep_identity`."""
    try:
        if file.stat().st_mode & _ANYBODY_ELSE:
            raise NotPermitted(
                f"other users can read {file}, and could pretend to be this device", hint=f"chmod 600 {file}"
            )
        return from_pem(file.read_bytes())
    except FileNotFoundError:
        raise StateError(f"{file} is missing, and it contains the device's key") from None
    except (ValueError, TypeError):
        raise StateError(
            f"{file} is damaged: the device's key cannot be read",
            hint=f"rm {file}, then join again; the server will see it as a new device",
        ) from None
