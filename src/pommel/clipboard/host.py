"""This host's clipboard, whatever desktop it belongs to: the contract, and the choice. Band: shell."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pommel.clipboard.content import LIMIT_BYTES, PORTABLE, Content
from pommel.errors import PommelError, StateError

# How long a paste waits for files. Qt's programs give up after 5 s, GTK's after 30; the files are fetched nevertheless.
PASTE_S = 25.0


@dataclass(frozen=True, slots=True)
class HostCopy:
    """What the host's clipboard has now; `sequence` counts the copies that others than we have made."""

    content: Content
    sequence: int


class HostGone(PommelError):
    """The desktop has ended, or does not talk to us any more."""


# Called once somebody pastes; it is given what to call when there is something to paste (True), or will not be.
WhenAsked = Callable[[Callable[[bool], None]], None]


class HostClipboard(Protocol):
    """One selection of this host's desktop. `lazy` says that `write` heeds `when_asked`."""

    name: str
    forms: frozenset[str]
    lazy: bool
    # Called in the loop as soon as a copy is noticed, with its sequence: before it is fetched.
    on_copy: Callable[[int], None]

    async def next_change(self) -> HostCopy:
        """Wait for somebody else's copy; the first is what was there. Of several, only the newest may be told of.

        Raises:
            HostGone: there is no desktop any more.
        """

    async def write(self, content: Content, expected: int, *, when_asked: WhenAsked | None = None) -> bool:
        """Put `content` there for as long as this lives, unless others have made more than `expected` copies.

        False if they have; their copy is told of by `next_change`. With `when_asked`, whoever pastes is kept waiting
        until what they are to get is ready, PASTE_S at most; who comes later asks anew.

        Raises:
            HostGone: there is no desktop any more.
        """


@dataclass(frozen=True, slots=True)
class Desktop:
    """Where a desktop is: `kind` is "wayland" or "x11", `display` the socket's name or path or the X11 display."""

    kind: str
    display: str


def find_desktop(env: Mapping[str, str] | None = None) -> Desktop:
    """Find out which desktop this session really has.

    A Wayland session also sets DISPLAY, for its X11 programs; so Wayland comes first, if its socket is there.

    Raises:
        StateError: it has none.
    """
    env = os.environ if env is None else env
    named = env.get("WAYLAND_DISPLAY") or ("wayland-0" if env.get("XDG_SESSION_TYPE") == "wayland" else "")
    if named and (Path(env.get("XDG_RUNTIME_DIR") or "/nonexistent") / named).is_socket():
        return Desktop("wayland", named)
    if env.get("DISPLAY"):
        return Desktop("x11", env["DISPLAY"])
    raise StateError(
        "there is no desktop here with a clipboard: neither WAYLAND_DISPLAY nor DISPLAY leads to one",
        hint="run it in a terminal of your desktop; over SSH, use: ssh -X",
    )


@contextlib.asynccontextmanager
async def host_clipboard(
    desktop: Desktop | None = None,
    *,
    selection: str = "CLIPBOARD",
    limit: int = LIMIT_BYTES,
    forms: frozenset[str] = PORTABLE,
) -> AsyncIterator[HostClipboard]:
    """Open this host's clipboard for the time of the block.

    Raises:
        StateError: there is no desktop, or it does not let programs see its clipboard.
        MissingProgram: wl-clipboard is not installed, on Wayland.
    """
    from pommel.clipboard.host_wayland import wayland_clipboard
    from pommel.clipboard.host_x11 import x11_clipboard

    desktop = desktop or find_desktop()
    open_it = wayland_clipboard if desktop.kind == "wayland" else x11_clipboard
    async with open_it(desktop.display, selection=selection, limit=limit, forms=forms) as clipboard:
        yield clipboard
