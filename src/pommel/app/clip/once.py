"""Push one copy to a guest, or pull one from it, without a sync. Band: app.

A desktop's clipboard content is served by the program that copied it (ICCCM 2.1; Wayland is the same). So the process
that pulled must live until another program copies something: `pull_and_keep` needs a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from pommel.app.clip.files import Files
from pommel.app.clip.options import HAND_OVER_S, ClipOptions
from pommel.app.clip.target import Guest
from pommel.app.workspace import Workspace
from pommel.clipboard.content import FORMS, PORTABLE, URIS, Content
from pommel.clipboard.frames import Copied, Done, Hello
from pommel.clipboard.guest import GuestError, GuestLink, guest_link
from pommel.clipboard.host import HostGone, find_desktop, host_clipboard
from pommel.clipboard.images import fitted, with_png
from pommel.errors import DeadlineError, PommelError, StateError
from pommel.progress import Report, ignore


@dataclass(frozen=True, slots=True)
class Transferred:
    """What was copied: its forms (MIME types) and its size in bytes; for files, their number and size."""

    forms: tuple[str, ...]
    size_bytes: int
    files: int = 0


async def push(workspace: Workspace, guest: Guest, options: ClipOptions, report: Report = ignore) -> Transferred:
    """Copy this desktop's clipboard to the guest's.

    Raises:
        StateError: there is no desktop, its clipboard is empty, or its content must not be sent.
        GuestError, DeadlineError: the guest cannot be reached, or does not accept it.
        PommelError: files could not be copied.
    """
    selection, limit = options.selection.upper(), options.limit_bytes
    desktop = find_desktop(workspace.env)
    async with host_clipboard(desktop, selection=selection, limit=limit, forms=frozenset(FORMS)) as host:
        content = _movable((await host.next_change()).content, "this desktop's clipboard")
    files = Files(workspace, guest, report)
    with _refusals(guest):
        async with guest_link(guest.argv(workspace), limit=limit) as (link, hello):
            made = await _for_guest(content, hello, files, limit)
            async with _in_time("take it"):
                await link.write(1, made)
                if not await _done(link):
                    raise PommelError(f"{guest.label} could not accept it: its pasteboard refused it")
    return _moved(made, files)


async def pull_and_keep(
    workspace: Workspace,
    guest: Guest,
    options: ClipOptions,
    on_moved: Callable[[Transferred], None],
    report: Report = ignore,
) -> None:
    """Copy the guest's clipboard to this desktop's, call `on_moved`, and serve it until the next copy.

    Raises:
        StateError: there is no desktop, the guest's clipboard is empty, or its content must not be sent.
        GuestError, DeadlineError: the guest cannot be reached, or does not answer.
        PommelError: files could not be copied.
    """
    selection, limit = options.selection.upper(), options.limit_bytes
    desktop = find_desktop(workspace.env)
    files = Files(workspace, guest, report)
    async with host_clipboard(desktop, selection=selection, limit=limit, forms=PORTABLE | {URIS}) as host:
        with _refusals(guest):
            async with guest_link(guest.argv(workspace), limit=limit) as (link, hello):
                async with _in_time("say what it has"):
                    copied = _movable(await _copied(link), f"the clipboard of {guest.label}")
                made = await _for_host(copied, hello, files, limit)
        # `write` refuses if there were more copies than this count: a copy by the user during the pull wins.
        before = await host.next_change()
        if not await host.write(made, before.sequence):
            raise StateError(
                "something else was copied here at the same moment, and it stays on the clipboard", hint="pull again"
            )
        on_moved(_moved(made, files))
        with contextlib.suppress(HostGone):
            await host.next_change()


async def _for_guest(content: Content, hello: Hello, files: Files, limit: int) -> Content:
    """The content in the forms that the guest accepts; files are copied first."""
    if URIS in content.names:
        return await files.push(content, hello)
    content = await fitted(content, hello.forms, limit)
    return _movable(hello.fitting(content), "this desktop's clipboard")


async def _for_host(content: Content, hello: Hello, files: Files, limit: int) -> Content:
    """The content in the forms that this desktop accepts; files are copied first."""
    if URIS in content.names:
        return await files.pull(content, hello)
    content = await with_png(content, limit)
    return _movable(content.only(PORTABLE), "the guest's clipboard")


def _moved(made: Content, files: Files) -> Transferred:
    if files.last is None:
        return Transferred(made.names, made.size)
    return Transferred(made.names, files.last.total or 0, files.last.files)


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
        raise StateError(f"{whose} is not copied: {content.why}")
    if content.empty:
        raise StateError(f"{whose} is empty", hint="copy something first")
    return content
