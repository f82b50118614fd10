"""One copy from here to a guest, or from there to here, without a sync. Band: app.

What was pulled lives in the process that pulled it until somebody copies something else: a desktop's clipboard is kept
by the program that copied (ICCCM 2.1; on Wayland the same). So `pull_and_keep` is for a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from pommel.app.clip_options import HAND_OVER_S, ClipOptions
from pommel.app.clip_target import Guest
from pommel.app.workspace import Workspace
from pommel.clipboard.content import PORTABLE, Content
from pommel.clipboard.frames import Copied, Done
from pommel.clipboard.guest import GuestError, GuestLink, guest_link
from pommel.clipboard.host import HostGone, find_desktop, host_clipboard
from pommel.clipboard.images import with_png
from pommel.errors import DeadlineError, PommelError, StateError


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved: its forms by MIME type, and its size."""

    forms: tuple[str, ...]
    size_bytes: int


async def push(workspace: Workspace, guest: Guest, options: ClipOptions) -> Moved:
    """Give the guest what this desktop's clipboard has.

    Raises:
        StateError: there is no desktop, nothing on its clipboard, or what is there may not travel.
        GuestError, DeadlineError: the guest cannot be reached, or does not take it.
    """
    limit, selection = options.limit_bytes, options.selection.upper()
    async with host_clipboard(find_desktop(workspace.env), selection=selection, limit=limit, forms=PORTABLE) as host:
        content = _movable((await host.next_change()).content, "this desktop's clipboard")
    with _refusals(guest):
        async with guest_link(guest.argv(workspace), limit=limit) as (link, hello), _in_time("take it"):
            content = _movable(content.only(hello.forms & PORTABLE), "this desktop's clipboard")
            await link.write(1, content)
            if not await _done(link):
                raise PommelError(f"{guest.label} could not take it: its pasteboard refused")
    return Moved(content.names, content.size)


async def pull_and_keep(
    workspace: Workspace, guest: Guest, options: ClipOptions, on_moved: Callable[[Moved], None]
) -> None:
    """Put what the guest's clipboard has on this desktop's, call `on_moved`, and keep it there until the next copy.

    Raises:
        StateError: there is no desktop, nothing on the guest's clipboard, or what is there may not travel.
        GuestError, DeadlineError: the guest cannot be reached, or does not say what it has.
    """
    limit, selection = options.limit_bytes, options.selection.upper()
    async with host_clipboard(find_desktop(workspace.env), selection=selection, limit=limit, forms=PORTABLE) as host:
        with _refusals(guest):
            async with guest_link(guest.argv(workspace), limit=limit) as (link, _), _in_time("say what it has"):
                content = _movable((await _copied(link)).only(PORTABLE), f"the clipboard of {guest.label}")
        content = await asyncio.to_thread(with_png, content, limit)
        before = await host.next_change()
        if not await host.write(content, before.sequence):
            raise StateError("something was copied here in the same moment, and stays", hint="pull again")
        on_moved(Moved(content.names, content.size))
        with contextlib.suppress(HostGone):
            await host.next_change()


async def _done(link: GuestLink) -> bool:
    while True:
        message = await link.next_message()
        if isinstance(message, Done):
            return message.taken


async def _copied(link: GuestLink) -> Content:
    while True:
        message = await link.next_message()
        if isinstance(message, Copied):
            return message.content


@contextlib.asynccontextmanager
async def _in_time(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(HAND_OVER_S):
            yield
    except TimeoutError:
        raise DeadlineError(f"the guest did not {what} in {HAND_OVER_S:g} s") from None


@contextlib.contextmanager
def _refusals(guest: Guest) -> Iterator[None]:
    try:
        yield
    except GuestError as error:
        hint = guest.key_hint if error.keys else error.hint
        raise PommelError(f"{guest.label}: {error.message}", hint=hint) from error


def _movable(content: Content, whose: str) -> Content:
    if content.held is not None:
        raise StateError(f"what is on {whose} stays there: {content.held.value}")
    if content.empty:
        raise StateError(f"there is nothing on {whose}", hint="copy something first")
    return content
