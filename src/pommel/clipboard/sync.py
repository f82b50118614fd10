"""Keeping a guest's clipboard and this host's the same, for as long as somebody wants it. Band: shell.

Runs the engine between a HostClipboard and a guest reached by SSH, and connects again whenever the connection ends:
after the host slept, the guest was restarted, sshd went. What it does is told by `snapshot`; no clipboard's content is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from pommel.clipboard.content import LIMIT_BYTES, PORTABLE, TIFF, Held
from pommel.clipboard.engine import Direction, Engine, Lost, Side, Write
from pommel.clipboard.frames import Copied, Done, Hello
from pommel.clipboard.guest import EVERY_MS, PING_S, GuestError, GuestLink, Trouble, guest_link
from pommel.clipboard.host import HostClipboard
from pommel.clipboard.images import with_png
from pommel.errors import PommelError
from pommel.locks import hold

BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
# A key or a host key that was refused is refused again until somebody does something.
REFUSED_S = 60.0


class State(Enum):
    """What a sync is at."""

    CONNECTING = "connecting"
    SYNCING = "syncing"
    ASLEEP = "guest asleep"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A sync at a moment. Times are seconds since 1970; `latency_s` is from a copy being told of to its being taken."""

    state: State = State.CONNECTING
    why: str = ""
    hint: str | None = None
    host: str = ""
    guest: str = ""
    to_guest: int = 0
    to_host: int = 0
    connections: int = 0
    last_change: float | None = None
    latency_s: float | None = None
    stayed_on_host: Held | None = None
    stayed_on_guest: Held | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """How to sync."""

    direction: Direction = Direction.BOTH
    limit: int = LIMIT_BYTES
    history: int = 0
    every_ms: int = EVERY_MS
    ping_s: float = PING_S
    backoff_s: tuple[float, ...] = BACKOFF_S
    refused_s: float = REFUSED_S


class Sync:
    """One guest and this host. `on_change` is called after each change of `snapshot`."""

    def __init__(
        self,
        ssh: Sequence[str],
        host: HostClipboard,
        settings: Settings | None = None,
        *,
        on_change: Callable[[Snapshot], None] = lambda _: None,
    ) -> None:
        self._ssh, self._host, self._settings = tuple(ssh), host, settings or Settings()
        given = self._settings
        self._engine = Engine(direction=given.direction, limit=given.limit, history=given.history)
        self._engine.knows(Side.HOST, host.forms)
        self._on_change = on_change
        self.snapshot = Snapshot(host=host.name)
        self._slots = {Side.HOST: _Slot(), Side.GUEST: _Slot()}
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
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_host())
                tasks.create_task(self._feed_host())
                tasks.create_task(self._follow_guest())
        except* PommelError as errors:
            raise _first(errors) from None

    def connect_now(self) -> None:
        """Try again at once, whatever the back-off says: the guest was just started, a key was just copied."""
        self._again.set()

    def give(self, source: Side) -> None:
        """Give the other side what `source` has, in the direction that a person asks for."""
        self._dispatch(self._engine.offer_again(source))

    # --- the host

    async def _follow_host(self) -> None:
        while True:
            change = await self._host.next_change()
            self._dispatch(self._engine.observe(Side.HOST, change.content, change.sequence, time.time()))
            self._host_known.set()

    async def _feed_host(self) -> None:
        while True:
            write, since = await self._slots[Side.HOST].take()
            content = write.content
            if TIFF in content.names:
                content = await asyncio.to_thread(with_png, content, self._settings.limit)
            if await self._host.write(content, write.expected):
                self._taken(Side.HOST, write.token, since)
            else:
                self._engine.superseded(Side.HOST, write.token)

    # --- the guest

    async def _follow_guest(self) -> None:
        await self._host_known.wait()
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._connection()
            except GuestError as trouble:
                # A connection that held for a while was a good one: begin anew.
                failures = 0 if time.monotonic() - began > max(self._settings.backoff_s) else failures
                await self._pause(trouble, failures)
                failures += 1

    async def _connection(self) -> None:
        self._tell(state=State.CONNECTING if self.snapshot.connections == 0 else self.snapshot.state)
        async with guest_link(self._ssh, limit=self._settings.limit, every_ms=self._settings.every_ms) as (link, hello):
            self._welcome(hello)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._hear_guest(link))
                    tasks.create_task(self._feed_guest(link))
                    tasks.create_task(link.stay_alive(every_s=self._settings.ping_s))
            except* PommelError as errors:
                raise _first(errors) from None
            finally:
                self._engine.disconnect()
                self._slots[Side.GUEST] = _Slot()

    def _welcome(self, hello: Hello) -> None:
        self._engine.knows(Side.GUEST, hello.forms & PORTABLE)
        self._engine.connect()
        user, console = hello.notes.get("user", ""), hello.notes.get("console", "")
        notes: tuple[str, ...] = ()
        if console and user and console != user:
            notes = (f"{console} sits at the Mac's screen, not {user}: each has a clipboard of their own",)
        self._tell(
            state=State.SYNCING,
            why="",
            hint=None,
            guest=hello.kind,
            connections=self.snapshot.connections + 1,
            notes=notes,
        )

    async def _hear_guest(self, link: GuestLink) -> None:
        first = True
        while True:
            message = await link.next_message()
            if isinstance(message, Copied):
                # When what was there at the beginning was copied, nobody knows.
                at = None if first else time.time()
                first = False
                self._dispatch(self._engine.observe(Side.GUEST, message.content, message.count, at))
            elif isinstance(message, Done) and message.taken:
                self._taken(Side.GUEST, message.token, self._slots[Side.GUEST].since(message.token))
            elif isinstance(message, Done):
                self._engine.failed(Side.GUEST, message.token)

    async def _feed_guest(self, link: GuestLink) -> None:
        slot = self._slots[Side.GUEST]
        while True:
            write, _ = await slot.take()
            await link.write(write.token, write.content)

    async def _pause(self, trouble: GuestError, failures: int) -> None:
        refused = trouble.trouble is Trouble.REFUSED
        self._tell(state=State.REFUSED if refused else State.ASLEEP, why=trouble.message, hint=trouble.hint)
        steps = self._settings.backoff_s
        wait_s = self._settings.refused_s if refused else steps[min(failures, len(steps) - 1)]
        self._again.clear()
        with contextlib.suppress(TimeoutError):
            # Not wait_for: before Python 3.12 it may swallow a cancellation that comes with what it waits for.
            async with asyncio.timeout(wait_s):
                await self._again.wait()

    # --- both

    def _dispatch(self, writes: Iterable[Write]) -> None:
        last_change = self.snapshot.last_change
        for write in writes:
            self._slots[write.side].put(write)
            last_change = time.time()
        self._tell(
            last_change=last_change,
            stayed_on_host=self._engine.stayed[Side.HOST],
            stayed_on_guest=self._engine.stayed[Side.GUEST],
        )

    def _taken(self, side: Side, token: int, since: float | None) -> None:
        self._engine.written(side, token, time.time())
        counts = {"to_guest": self.snapshot.to_guest, "to_host": self.snapshot.to_host}
        counts[f"to_{side.value}"] += 1
        latency_s = None if since is None else time.monotonic() - since
        self._tell(**counts, latency_s=latency_s)

    def _tell(self, **changes: object) -> None:
        self.snapshot = replace(self.snapshot, **changes)  # type: ignore[arg-type]
        self._on_change(self.snapshot)


@dataclass(slots=True)
class _Slot:
    """The newest write for one side: a newer one takes the place of one that has not begun."""

    _write: Write | None = None
    _since: float = 0.0
    _begun: dict[int, float] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, write: Write) -> None:
        self._write, self._since = write, time.monotonic()
        self._news.set()

    async def take(self) -> tuple[Write, float]:
        while self._write is None:
            self._news.clear()
            await self._news.wait()
        write, self._write = self._write, None
        self._begun = {token: since for token, since in self._begun.items() if token > write.token - 16}
        self._begun[write.token] = self._since
        return write, self._since

    def since(self, token: int) -> float | None:
        return self._begun.pop(token, None)


@contextlib.contextmanager
def only_sync(lock: Path, guest: str) -> Iterator[None]:
    """Hold the lock of a guest's sync for the time of the block: a second one is refused with the first's pid.

    Raises:
        BusyError: the guest is synced already.
    """
    with hold(lock, busy=f"the clipboard of {guest} is synced already"):
        yield


def _first(errors: BaseExceptionGroup[PommelError]) -> PommelError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
