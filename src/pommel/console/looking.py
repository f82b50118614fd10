"""Which requests one may make who came by the view-only link: the one place that says so. Band: shell.

What is not named here is refused, so that what will be added one day is refused too until somebody names it. What such
a viewer may say on the WebSocket is `wire.looking`'s.
"""

from __future__ import annotations

import re

_PATHS = re.compile(r"(?:/at/[^/]+)?/(?:static/[^/]*|manifest\.webmanifest|kvm|api/status)?")


def may_look(method: str, path: str) -> bool:
    """Whether this request changes nothing and shows the screen alone, not the clipboard. `path` is as it came."""
    return method in ("GET", "HEAD") and _PATHS.fullmatch(path) is not None
