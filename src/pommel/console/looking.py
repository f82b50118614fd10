"""The one place that says which requests a viewer with the view-only link may make. Band: shell.

Every request that is not listed here is refused. So a request that is added later is refused too, until it is listed.
`wire.looking` decides what such a viewer may send on the WebSocket.
"""

from __future__ import annotations

import re

_PATHS = re.compile(r"(?:/at/[^/]+)?/(?:static/[^/]*|manifest\.webmanifest|kvm|api/status)?")


def may_look(method: str, path: str) -> bool:
    """Whether this request only shows the screen: it changes nothing, and is not for the clipboard. `path` is raw."""
    return method in ("GET", "HEAD") and _PATHS.fullmatch(path) is not None
