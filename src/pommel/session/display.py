"""Finds a Linux session's X server or Wayland compositor, for a process that it did not start itself. Band: shell.

systemd's user manager may not know the session's DISPLAY: desktops set it there, a plain window manager does not. But
every program of the session has it in its environment, so it is read from /proc, which shows it to the same user.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

_PROC = Path("/proc")
_WANTED = ("DISPLAY", "XAUTHORITY", "HOME")


def displays(env: Mapping[str, str], session: str = "", *, uid: int | None = None) -> Iterator[dict[str, str]]:
    """The X servers that may be this session's, the likeliest first, as DISPLAY, and XAUTHORITY if it is known.

    First those of the programs of logind's session `session`, then that of `env`, then those of any program of the
    user. Only programs of `uid` are read, by default ours.
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


def wayland_sockets(env: Mapping[str, str]) -> Iterator[str]:
    """The sockets that may be this session's Wayland compositor: that of `env`, then those in the runtime folder.

    In the folder only sockets of this user count.
    """
    uid = os.geteuid()
    runtime = Path(env.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}")
    named = env.get("WAYLAND_DISPLAY")
    if named:
        yield str(runtime / named)
    for path in sorted(runtime.glob("wayland-*")):
        with contextlib.suppress(OSError):
            if path.name != named and path.is_socket() and path.stat().st_uid == uid:
                yield str(path)


def _environments(uid: int) -> Iterator[tuple[str, dict[str, str]]]:
    """The innermost cgroup and the environment of each program of `uid` with a display, newest first."""
    numbers = sorted((int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()), reverse=True)
    for number in numbers:
        folder = _PROC / str(number)
        try:
            if folder.stat().st_uid != uid:
                continue
            told = _pairs((folder / "environ").read_bytes())
            if "DISPLAY" in told:
                yield (folder / "cgroup").read_text().strip().rpartition("/")[2], told
        except OSError:  # it has ended, or its environment is not readable
            continue


def _pairs(block: bytes) -> dict[str, str]:
    words = (word.partition("=") for word in os.fsdecode(block).split("\0"))
    return {name: value for name, _, value in words if name in _WANTED}
