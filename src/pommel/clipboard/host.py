"""This host's clipboard on any desktop: the contract, and the choice of the implementation. Band: shell."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pommel.clipboard.content import LIMIT_BYTES, PORTABLE, Content
from pommel.errors import PommelError, StateError

# A paste waits this long for files. Qt's programs give up after 5 s, GTK's after 30; the files are fetched anyway.
PASTE_S = 25.0


@dataclass(frozen=True, slots=True)
class HostCopy:
    """The host's present clipboard; `sequence` counts the copies that Pommel did not make."""

    content: Content
    sequence: int


class HostGone(PommelError):
    """The desktop has ended, or has closed the connection."""


# Called when a program pastes, with a function to call when the content is ready (True) or has failed (False).
WhenAsked = Callable[[Callable[[bool], None]], None]


class HostClipboard(Protocol):
    """One selection of this host's desktop. If `lazy`, `write` supports `when_asked`."""

    name: str
    forms: frozenset[str]
    lazy: bool
    # Called in the loop with the sequence of a new copy, before the copy is fetched.
    on_copy: Callable[[int], None]

    async def next_change(self) -> HostCopy:
        """Wait for a foreign copy; the first call returns the present content. Older copies may be skipped.

        Raises:
            HostGone: there is no desktop any more.
        """

    async def write(self, content: Content, expected: int, *, when_asked: WhenAsked | None = None) -> bool:
        """Put `content` on the clipboard while this object lives, unless others have made more than `expected` copies.

        False if they have; `next_change` returns their copy. With `when_asked`, a program that pastes waits until the
        content is ready, at most PASTE_S; a later paste asks again.

        Raises:
            HostGone: there is no desktop any more.
        """


@dataclass(frozen=True, slots=True)
class Desktop:
    """A desktop: `kind` is "wayland" or "x11"; `display` is the socket's name or path, or the X11 display."""

    kind: str
    display: str


def find_desktop(env: Mapping[str, str] | None = None) -> Desktop:
    """Find this session's desktop.

    A Wayland session also sets DISPLAY, for its X11 programs; so Wayland comes first, if its socket exists.

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
    """Open this host's clipboard during the block.

    Raises:
        StateError: there is no desktop, or it does not let programs see its clipboard.
        NotPermitted: its X server refuses the connection.
        MissingProgram: wl-clipboard is not installed, on Wayland.
    """
    from pommel.clipboard.host_wayland import wayland_clipboard
    from pommel.clipboard.host_x11 import x11_clipboard

    desktop = desktop or find_desktop()
    open_it = wayland_clipboard if desktop.kind == "wayland" else x11_clipboard
    async with open_it(desktop.display, selection=selection, limit=limit, forms=forms) as clipboard:
        yield clipboard
