"""Checks whether root owns an X11 selection: if we run as root, only root's programs may name files. Band: shell.

The X server knows a client's process from the socket, and does not trust the client's own statement (X-Resource 1.2).
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from Xlib.error import XError
from Xlib.ext import res

from pommel import sockets


def is_roots(display: Any, selection: int) -> bool:
    """Whether a process of root owns the selection.

    For programs that go into the background (xclip), the server knows only the pid of a process that has ended. Then
    the answer is True only if the X server itself and all its other clients run as root.
    """
    owner = display.get_selection_owner(selection)
    if not owner or not display.has_extension(res.extname):
        return False
    uids = _uids(display, owner.id)
    if uids:
        return uids == {0}
    return _server_uid(display) == 0 and _uids(display, 0) == {0}


def _uids(display: Any, client: int) -> set[int]:
    """The users of a client's living processes; `client` is one of its windows, or 0 for all clients."""
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
    return sockets.peer_uid(link)
