"""Keeps the clipboards of a guest and this host equal until it is cancelled. Band: shell.

It runs the engine between a HostClipboard and a guest that SSH reaches, and connects again whenever the connection
ends: after a sleep of the host, a restart of the guest or of sshd. `snapshot` gives its state, without any content of a
clipboard, except for the names of files that are being copied.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from pommel.clipboard.carrying import Carrier, OfferedFiles, Transfer
from pommel.clipboard.content import (
    CONVERTED,
    FILES_OF_GUEST,
    FILES_OF_HOST,
    LIMIT_BYTES,
    PNG,
    PORTABLE,
    URIS,
    Content,
    HeldBack,
)
from pommel.clipboard.engine import Lost, Side, SyncDirection, SyncEngine, Write
from pommel.clipboard.frames import Copied, Done, Hello
from pommel.clipboard.guest import EVERY_MS, PING_S, GuestError, GuestLink, Trouble, caches_of, guest_link
from pommel.clipboard.host import HostClipboard
from pommel.clipboard.images import PICTURES, Pictures
from pommel.clipboard.slot import Slot
from pommel.errors import BusyError
from pommel.locks import hold
from pommel.sftp.tree import FilesError
from pommel.tasks import together

BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
# A refused key or host key is refused again until somebody changes something, so do not try again at once.
REFUSED_S = 60.0
# The most bytes of files for the guest. They are copied at once, because a paste in macOS cannot wait.
FILES_LIMIT_BYTES = 64 << 20
# The most bytes of files from the guest. They are fetched when a program pastes them.
PASTE_LIMIT_BYTES = 1 << 30
_FILES = frozenset((FILES_OF_HOST, FILES_OF_GUEST))


class SyncState(Enum):
    """The state of a sync."""

    CONNECTING = "connecting"
    SYNCING = "syncing"
    ASLEEP = "guest asleep"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class SyncMoment:
    """The state of a sync.

    Times are seconds since 1970; `latency_s` is from the report of a copy to the end of its write.
    """

    state: SyncState = SyncState.CONNECTING
    why: str = ""
    hint: str | None = None
    host: str = ""
    guest: str = ""
    to_guest: int = 0
    to_host: int = 0
    connections: int = 0
    last_change: float | None = None
    latency_s: float | None = None
    stayed_on_host: HeldBack | None = None
    stayed_on_guest: HeldBack | None = None
    notes: tuple[str, ...] = ()
    transfer: Transfer | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How to sync.

    Files are synced if `files` is set: the folder for copies of the guest's files, used by this sync only. `guest_name`
    is the guest's name for `pommel scp`; `key_hint` is the command to type when the guest refuses the keys.
    """

    direction: SyncDirection = SyncDirection.BOTH
    limit: int = LIMIT_BYTES
    history: int = 0
    every_ms: int = EVERY_MS
    ping_s: float = PING_S
    backoff_s: tuple[float, ...] = BACKOFF_S
    refused_s: float = REFUSED_S
    files: Path | None = None
    files_limit: int = FILES_LIMIT_BYTES
    paste_limit: int = PASTE_LIMIT_BYTES
    guest_name: str = ""
    key_hint: str | None = None


class Sync:
    """One guest and this host. `on_change` is called after each change of `snapshot`."""

    def __init__(
        self,
        ssh: Sequence[str],
        host: HostClipboard,
        settings: Settings | None = None,
        *,
        on_change: Callable[[SyncMoment], None] = lambda _: None,
    ) -> None:
        self._ssh, self._host, self._settings = tuple(ssh), host, settings or Settings()
        given = self._settings
        self._engine = SyncEngine(direction=given.direction, limit=given.limit, history=given.history)
        self._carrier = self._carrier_in(given.files) if given.files and URIS in host.forms else None
        self._pictures = Pictures(given.limit)
        self._engine.knows(Side.HOST, self._host_forms)
        self._on_change = on_change
        self.snapshot = SyncMoment(host=host.name)
        self._slots = {Side.HOST: Slot(), Side.GUEST: Slot()}
        self._notes: tuple[str, ...] = ()
        self._pastes: asyncio.Queue[tuple[OfferedFiles, Callable[[bool], None]]] = asyncio.Queue()
        self._host_known = asyncio.Event()
        self._again = asyncio.Event()

    @property
    def history(self) -> tuple[Lost, ...]:
        """The copies that lost a tie, oldest first; empty unless asked for."""
        return tuple(self._engine.history)

    async def run(self) -> None:
        """Sync until cancelled.

        Raises:
            HostGone: this host's desktop has ended.
            MissingProgram: there is no ssh.
        """
        with self._shelf():
            async with together() as tasks:
                tasks.create_task(self._follow_host())
                tasks.create_task(self._feed_host())
                tasks.create_task(self._follow_guest())
                tasks.create_task(self._follow_pastes())

    def connect_now(self) -> None:
        """Try again at once, without the pause: the guest was just started, or a key was just copied."""
        self._again.set()

    def give(self, source: Side) -> None:
        """Give the other side what `source` has, in the direction that a person asks for."""
        self._dispatch(self._engine.offer_again(source))

    # --- the host

    async def _follow_host(self) -> None:
        while True:
            change = await self._host.next_change()
            content = self._known(Side.HOST, change.content, anew=True)
            self._dispatch(self._engine.observe(Side.HOST, content, change.sequence, time.time()))
            self._host_known.set()

    async def _feed_host(self) -> None:
        while True:
            slot = self._slots[Side.HOST]
            write, since = await slot.take()
            content = write.content
            offered = content if _is_plain(content) else await slot.unless_newer(self._for_host(content))
            if offered is None:
                self._dispatch(self._engine.failed(Side.HOST, write.token))
            elif await self._offer(offered, write.expected):
                self._taken(Side.HOST, write.token, since)
            else:
                self._engine.superseded(Side.HOST, write.token)

    async def _for_host(self, content: Content) -> Content | OfferedFiles | None:
        """The copy in forms for the host; None if its files cannot be copied, or its picture cannot be converted."""
        if self._carrier and _FILES & set(content.names):
            offered = await self._carrier.to_host(content)
            if not isinstance(offered, OfferedFiles) or self._host.lazy:
                return offered
            return offered.uris if await self._carrier.fetch(offered) else None
        if PICTURES & set(content.names):
            made = await self._pictures.for_side(Side.HOST, content, (PNG,))
            self._engine.stayed[Side.GUEST] = made.held
            return made if made.held is None else None
        return content

    async def _offer(self, offered: Content | OfferedFiles, expected: int) -> bool:
        if isinstance(offered, Content):
            return await self._host.write(offered, expected)
        return await self._host.write(
            offered.uris, expected, when_asked=lambda answer: self._pastes.put_nowait((offered, answer))
        )

    async def _follow_pastes(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._paste(*await self._pastes.get()))

    async def _paste(self, offered: OfferedFiles, answer: Callable[[bool], None]) -> None:
        ready = False
        try:
            ready = self._carrier is not None and await self._carrier.fetch(offered)
        finally:
            answer(ready)

    # --- the guest

    async def _follow_guest(self) -> None:
        await self._host_known.wait()
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._connection()
            except GuestError as trouble:
                # The connection lasted for a while, so it was good: reset the pauses.
                failures = 0 if time.monotonic() - began > max(self._settings.backoff_s) else failures
                await self._pause(trouble, failures)
                failures += 1

    async def _connection(self) -> None:
        async with guest_link(self._ssh, limit=self._settings.limit, every_ms=self._settings.every_ms) as (link, hello):
            self._welcome(hello)
            try:
                async with together() as tasks:
                    tasks.create_task(self._hear_guest(link))
                    tasks.create_task(self._feed_guest(link, hello))
                    tasks.create_task(self._sweep(hello))
                    tasks.create_task(link.stay_alive(every_s=self._settings.ping_s))
            finally:
                self._engine.disconnect()
                self._slots[Side.GUEST] = Slot()

    def _welcome(self, hello: Hello) -> None:
        forms = hello.forms & PORTABLE
        if PICTURES & forms:
            forms |= PICTURES  # the others are converted
        if self._carrier and URIS in hello.forms and (caches := caches_of(hello)):
            self._carrier.meet(caches)
            forms |= _FILES
        self._engine.knows(Side.GUEST, forms)
        self._engine.connect()
        self._update(
            state=SyncState.SYNCING,
            why="",
            hint=None,
            guest=hello.kind,
            connections=self.snapshot.connections + 1,
            notes=(*self._notes, *hello.another_user),
        )

    async def _hear_guest(self, link: GuestLink) -> None:
        first = True
        while True:
            message = await link.next_message()
            if isinstance(message, Copied):
                # The time of the first content is unknown: it was copied before this connection.
                at = None if first else time.time()
                content = self._known(Side.GUEST, message.content, anew=not first)
                first = False
                self._dispatch(self._engine.observe(Side.GUEST, content, message.count, at))
            elif isinstance(message, Done) and message.taken:
                self._taken(Side.GUEST, message.token, self._slots[Side.GUEST].since(message.token))
            elif isinstance(message, Done):
                self._dispatch(self._engine.failed(Side.GUEST, message.token))

    async def _feed_guest(self, link: GuestLink, hello: Hello) -> None:
        slot = self._slots[Side.GUEST]
        while True:
            write, _ = await slot.take()
            content = write.content
            made = content if _is_plain(content) else await slot.unless_newer(self._for_guest(content, hello))
            if made is None:
                self._dispatch(self._engine.failed(Side.GUEST, write.token))
            else:
                await link.write(write.token, made)

    async def _for_guest(self, content: Content, hello: Hello) -> Content | None:
        """The copy in forms for the guest; None if its files cannot be copied, or its picture cannot be converted."""
        if self._carrier and _FILES & set(content.names):
            return await self._carrier.to_guest(content)
        if PICTURES & set(content.names):
            content = await self._pictures.for_side(Side.GUEST, content, hello.forms)
        fitting = hello.fitting(content)
        if fitting.held is not None:
            self._engine.stayed[Side.HOST] = fitting.held
            return None
        return fitting

    async def _sweep(self, hello: Hello) -> None:
        if self._carrier and "kept" in hello.notes:
            await self._carrier.sweep()

    async def _pause(self, trouble: GuestError, failures: int) -> None:
        refused = trouble.trouble is Trouble.REFUSED
        hint = self._settings.key_hint if refused and trouble.keys and self._settings.key_hint else trouble.hint
        self._update(state=SyncState.REFUSED if refused else SyncState.ASLEEP, why=trouble.message, hint=hint)
        steps = self._settings.backoff_s
        wait_s = self._settings.refused_s if refused else steps[min(failures, len(steps) - 1)]
        self._again.clear()
        with contextlib.suppress(TimeoutError):
            # Not wait_for: before Python 3.12 it may lose a cancellation that comes at the same time as the event.
            async with asyncio.timeout(wait_s):
                await self._again.wait()

    # --- both

    @property
    def _host_forms(self) -> frozenset[str]:
        forms = self._host.forms - CONVERTED - {URIS}
        if PNG in forms:
            forms |= PICTURES  # programs here paste pictures as PNG, so they are converted
        return forms | (_FILES if self._carrier else frozenset())

    def _carrier_in(self, folder: Path) -> Carrier:
        given = self._settings
        return Carrier(
            self._ssh,
            folder,
            lambda transfer: self._update(transfer=transfer),
            limit=given.files_limit,
            paste_limit=given.paste_limit,
            guest_name=given.guest_name,
        )

    @contextlib.contextmanager
    def _shelf(self) -> Iterator[None]:
        """Use the folder for files during the block, or report that there is none and continue without it."""
        with contextlib.ExitStack() as held:
            if self._carrier is not None:
                try:
                    held.enter_context(self._carrier.here.held())
                except (BusyError, FilesError) as refusal:
                    self._notes = (f"files are not synced: {refusal.message}",)
                    self._carrier = None
                    self._engine.knows(Side.HOST, self._host_forms)
                    self._update(notes=self._notes)
            yield

    def _known(self, side: Side, content: Content, *, anew: bool) -> Content:
        """The copy for the engine: files are marked with their side; a converted picture becomes its original."""
        if URIS not in content.names:
            return self._pictures.known(side, content)
        if self._carrier is None:
            return Content(held=HeldBack.NO_FILES)
        return self._carrier.known(side, content, anew=anew)

    def _dispatch(self, writes: Sequence[Write]) -> None:
        last_change = self.snapshot.last_change
        for write in writes:
            self._slots[write.side].put(write)
            last_change = time.time()
        if any(_is_plain(write.content) for write in writes):
            self._update(transfer=None)  # the result of an earlier transfer is out of date
        self._update(
            last_change=last_change,
            stayed_on_host=self._engine.stayed[Side.HOST],
            stayed_on_guest=self._engine.stayed[Side.GUEST],
        )

    def _taken(self, side: Side, token: int, since: float | None) -> None:
        self._engine.written(side, token, time.time())
        counts = {"to_guest": self.snapshot.to_guest, "to_host": self.snapshot.to_host}
        counts[f"to_{side.value}"] += 1
        latency_s = None if since is None else time.monotonic() - since
        self._update(**counts, latency_s=latency_s)

    def _update(self, **changes: object) -> None:
        self.snapshot = replace(self.snapshot, **changes)  # type: ignore[arg-type]
        self._on_change(self.snapshot)


@contextlib.contextmanager
def only_sync(lock: Path, guest: str) -> Iterator[None]:
    """Hold the lock of a guest's sync during the block; a second sync is refused with the pid of the first.

    Raises:
        BusyError: the guest is synced already.
    """
    with hold(lock, busy=f"the clipboard of {guest} is already synced"):
        yield


def _is_plain(content: Content) -> bool:
    """Whether it can be sent at once, without a conversion."""
    return not (_FILES | PICTURES) & set(content.names)
