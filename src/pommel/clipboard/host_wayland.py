"""A Wayland session's clipboard, by wl-clipboard's programs over the compositor's data-control. Band: shell.

`wl-paste --watch` reports copies, `wl-paste` reads them, and a `wl-copy` that lives as long as its copy offers ours.
The limits of this: wl-copy offers only one form, so of a copy with several forms the host gets the plainest; it keeps
the content in a folder of its own below /tmp, 0700, which it removes at its end; and version 2.1, Debian 12's, does not
report an emptied clipboard.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from pommel.child import Child, running
from pommel.clipboard.content import EMPTY, HTML, PNG, RTF, TEXT, TIFF, URIS, Content, HeldBack, content_of, foreign
from pommel.clipboard.host import HostCopy, HostGone, WhenAsked
from pommel.clipboard.targets import CUT, SECRET_HINT, chosen, kinds, received
from pommel.clipboard.uris import mark_cut, paths_of
from pommel.errors import StateError
from pommel.process import tethered, which

_HINT = "install your distribution's package wl-clipboard"
_FETCH_S = 5.0
_SETTLE_S = 0.2
# The plainest form first, because most programs can paste it.
_PREFERRED = (TEXT, URIS, PNG, TIFF, HTML, RTF)
# wl-clipboard 2.2 and later give the type of change in a variable; the copy itself, on standard input, is not read.
_WATCH = ("sh", "-c", 'echo "${CLIPBOARD_STATE:-data}"')


class WaylandClipboard:
    """A HostClipboard over wl-clipboard. It is not lazy, because wl-copy needs the content at its start."""

    lazy = False

    def __init__(self, display: str, selection: str, limit: int, forms: frozenset[str]) -> None:
        self.name = f"Wayland {display} {selection}"
        self.forms = forms
        self.on_copy: Callable[[int], None] = lambda _: None
        self._primary = ("--primary",) if selection == "PRIMARY" else ()
        self._limit = limit
        self._env = {**os.environ, "WAYLAND_DISPLAY": display}
        self._sequence = 0
        self._first = True
        self._looking = asyncio.Lock()
        self._ours: deque[bytes] = deque(maxlen=8)
        self._watching, self._serving = contextlib.AsyncExitStack(), contextlib.AsyncExitStack()
        self._watch: Child | None = None
        self._served: Child | None = None

    async def next_change(self) -> HostCopy:
        """See HostClipboard."""
        if self._first:
            self._first = False
            return HostCopy(await self._fetch() or EMPTY, self._sequence)
        while True:
            said = await self._watch.read() if self._watch else b""
            if not said:
                await self._watch_again()
                continue
            async with self._looking:
                content = await self._seen(said.split()[-1])
                if content is None or content.digest in self._ours:
                    continue
                self._sequence += 1
                self.on_copy(self._sequence)
                self._ours.clear()
                return HostCopy(content, self._sequence)

    async def write(self, content: Content, expected: int, *, when_asked: WhenAsked | None = None) -> bool:
        """See HostClipboard."""
        async with self._looking:
            if self._sequence > expected:
                return False
            form = next((form for form in _PREFERRED if form in content.names), None)
            if form is None:
                self._ours.append(EMPTY.digest)
                await self._clear()
                return True
            data = content.get(form) or b""
            self._ours.append(content_of({form: data}).digest)
            await self._serve(form, data)
            return True

    async def watch(self) -> None:
        """Begin to watch for copies.

        Raises:
            StateError: the compositor does not let programs see its clipboard.
        """
        argv = tethered(["wl-paste", "--watch", *self._primary, *_WATCH], "TERM")
        self._watch = await self._watching.enter_async_context(running(argv, env=self._env, grace_s=0.0))
        await _refuse_if_ended(self._watch)

    async def close(self) -> None:
        """Stop offering and watching."""
        if self._served is not None and self._served.alive:
            await self._clear()
        await self._serving.aclose()
        await self._watching.aclose()

    async def _watch_again(self) -> None:
        """Start wl-paste again after it ended. If the session is gone, the new one fails too."""
        await self._watching.aclose()
        try:
            await self.watch()
        except StateError as gone:
            raise HostGone(f"the Wayland session has ended: {gone.message}") from gone

    async def _serve(self, form: str, data: bytes) -> None:
        argv = tethered(["wl-copy", "--foreground", "--type", form, *self._primary], "TERM")
        before, self._serving = self._serving, contextlib.AsyncExitStack()
        self._served = await self._serving.enter_async_context(running(argv, env=self._env))
        with contextlib.suppress(ConnectionError):
            await self._served.write(data)
        self._served.close_input()
        # The old wl-copy ends by itself when the compositor reports the newer copy, and removes its file only then.
        await before.aclose()

    async def _clear(self) -> None:
        async with running(["wl-copy", "--clear", *self._primary], env=self._env) as child:
            await child.wait()

    async def _seen(self, state: bytes) -> Content | None:
        if state == b"sensitive":
            return Content(held=HeldBack.SECRET)
        if state == b"clear":
            return EMPTY
        # "nil" also comes when the program that copied ends.
        return Content(held=HeldBack.GONE) if state == b"nil" else await self._fetch()

    async def _fetch(self) -> Content | None:
        """The present content, or None if the clipboard is empty."""
        try:
            async with asyncio.timeout(_FETCH_S):
                return await self._fetched()
        except TimeoutError:
            return Content(held=HeldBack.LATE)

    async def _fetched(self) -> Content | None:
        listed = await self._printed(["wl-paste", "--list-types", *self._primary])
        if not listed:
            return None
        offered = listed.decode(errors="replace").splitlines()
        if SECRET_HINT in offered and await self._typed(SECRET_HINT) == b"secret":
            return Content(held=HeldBack.SECRET)
        wanted = chosen(offered, self.forms)
        found = await self._forms(wanted)
        if found and URIS in found and not paths_of(found[URIS]):
            # Links to web pages, not files: another form is more useful.
            wanted = chosen(offered, self.forms - {URIS})
            found = await self._forms(wanted)
        elif found and URIS in found and CUT in offered and await self._typed(CUT) == b"1":
            found[URIS] = mark_cut(found[URIS])
        if found is None:
            return Content(held=HeldBack.TOO_LARGE, size=self._limit + 1)
        if not wanted:
            return foreign(kinds(offered))
        if not any(found.values()):
            return Content(held=HeldBack.REFUSED)
        return content_of(found, self._limit)

    async def _forms(self, wanted: list[tuple[str, str]]) -> dict[str, bytes] | None:
        """Several forms of the present content; None if one is larger than the limit."""
        found: dict[str, bytes] = {}
        for form, name in wanted:
            data = await self._typed(name)
            if data is None:
                return None
            found[form] = received(name, data)
        return found

    async def _typed(self, name: str) -> bytes | None:
        return await self._printed(["wl-paste", "--no-newline", "--type", name, *self._primary])

    async def _printed(self, argv: Sequence[str]) -> bytes | None:
        """The output of a program; None if it is larger than the limit."""
        pieces, total = [], 0
        async with running(argv, env=self._env) as child:
            while piece := await child.read():
                total += len(piece)
                if total > self._limit:
                    return None
                pieces.append(piece)
        return b"".join(pieces)


@contextlib.asynccontextmanager
async def wayland_clipboard(
    display: str, *, selection: str, limit: int, forms: frozenset[str]
) -> AsyncIterator[WaylandClipboard]:
    """Open a Wayland session's clipboard during the block.

    Raises:
        MissingProgram: wl-clipboard is not installed.
        StateError: the compositor does not let programs see its clipboard.
    """
    for program in ("wl-paste", "wl-copy"):
        which(program, hint=_HINT)
    clipboard = WaylandClipboard(display, selection, limit, forms)
    try:
        await clipboard.watch()
        yield clipboard
    finally:
        await clipboard.close()


async def _refuse_if_ended(watch: Child) -> None:
    try:
        async with asyncio.timeout(_SETTLE_S):
            await watch.wait()
    except TimeoutError:
        return
    raise StateError(
        f"this Wayland session does not let programs see its clipboard: {watch.complaints or 'wl-paste ended at once'}",
        hint="GNOME does not allow it; KDE, Sway and others do. An X11 session always works",
    )
