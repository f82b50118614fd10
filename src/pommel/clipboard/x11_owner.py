"""Whether an X11 selection is root's: who may name files to a root that reads them for the selection. Band: shell.

The X server takes a client's process from its socket, not from what the client says of itself (X-Resource 1.2).
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

from Xlib.error import XError
from Xlib.ext import res


def is_roots(display: Any, selection: int) -> bool:
    """Whether root's process has the selection.

    Programs that go into the background (xclip) leave the number of a process that has ended. Then it is, where the X
    server itself and all its clients that can be found are root's.
    """
    owner = display.get_selection_owner(selection)
    if not owner or not display.has_extension(res.extname):
        return False
    uids = _uids(display, owner.id)
    if uids:
        return uids == {0}
    return _server_uid(display) == 0 and _uids(display, 0) == {0}


def _uids(display: Any, client: int) -> set[int]:
    """The users of the processes that live of a client, by one of its windows, or of all (0)."""
    try:
        told = display.res_query_client_ids([{"client": client, "mask": res.LocalClientPIDMask}])
    except XError:
        return set()
    uids = (_uid(pid) for one in told.ids for pid in one.value)
    return {uid for uid in uids if uid is not None}


def _uid(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("Uid:")), None)


def _server_uid(display: Any) -> int | None:
    link = display.display.socket
    if link.family != socket.AF_UNIX:
        return None
    _, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(uid)
