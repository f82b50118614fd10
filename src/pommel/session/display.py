"""Where a Linux session's X server is, for a process that the session did not start itself. Band: shell.

systemd's user manager need not know the session's DISPLAY: desktops tell it, a bare window manager does not. What
does know it is every program of the session, so their environment is looked at, as /proc shows it to their own user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

_PROC = Path("/proc")
_WANTED = ("DISPLAY", "XAUTHORITY", "HOME")


def displays(env: Mapping[str, str], session: str = "", *, uid: int | None = None) -> Iterator[dict[str, str]]:
    """Name the X servers that may be this session's, the likeliest first, as DISPLAY, and XAUTHORITY where it is known.

    First what the programs of logind's session `session` have, then what `env` has, then what any program of the user
    has. Programs of other users are not looked at; those of `uid` are, by default ours.
    """
    uid = os.geteuid() if uid is None else uid
    found = list(_environments(uid))
    ours = [told for scope, told in found if session and scope == f"session-{session}.scope"]
    others = [told for _, told in found]
    seen = set[tuple[str, str]]()
    for told in (*ours, dict(env), *others):
        key = told.get("DISPLAY", ""), told.get("XAUTHORITY", "")
        if key[0].startswith(":") and key not in seen:
            seen.add(key)
            yield {name: told[name] for name in _WANTED if told.get(name)}


def _environments(uid: int) -> Iterator[tuple[str, dict[str, str]]]:
    """The innermost cgroup and the environment of each program of `uid` that has a display, newest first."""
    numbers = sorted((int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()), reverse=True)
    for number in numbers:
        folder = _PROC / str(number)
        try:
            if folder.stat().st_uid != uid:
                continue
            told = _pairs((folder / "environ").read_bytes())
            if "DISPLAY" in told:
                yield (folder / "cgroup").read_text().strip().rpartition("/")[2], told
        except OSError:  # it has ended, or is not ours to look into
            continue


def _pairs(block: bytes) -> dict[str, str]:
    words = (word.partition("=") for word in os.fsdecode(block).split("\0"))
    return {name: value for name, _, value in words if name in _WANTED}
