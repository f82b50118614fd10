"""QMP, the connection to a running QEMU: short commands and events. Band: shell.

A thin layer over the `qemu.qmp` library, whose errors are converted. The library is imported at the first connection,
because most commands, such as `status`, do not need it. A QEMU serves one client per socket, so connections are short;
a second client waits for its turn, until its deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pommel.errors import DeadlineError, MachineError, NotPermitted, StateError

if TYPE_CHECKING:
    from qemu.qmp import EventListener, QMPClient

T = TypeVar("T")
_RETRY_S = 0.02
_GONE_S = 0.25  # the time after which a listener checks whether QEMU ended without an event
# If the socket's queue is full, connect(2) returns EAGAIN; asyncio treats it as "in progress" and fails later.
_MISREAD_MOST = 3
_QUEUE_FULL = (errno.EAGAIN, errno.ENOTCONN, errno.EINVAL)


@dataclass(frozen=True, slots=True)
class QmpEvent:
    """One QMP event, such as SHUTDOWN, RESET, STOP, RESUME, POWERDOWN."""

    name: str
    data: dict[str, Any]


class Qmp:
    """A connection to a QEMU, made by `connect`."""

    def __init__(self, client: QMPClient, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s

    async def execute(self, command: str, arguments: dict[str, object] | None = None) -> Any:
        """Execute a QMP command and return QEMU's answer.

        Raises:
            MachineError: QEMU refuses it, or ends.
            DeadlineError: QEMU does not answer.
        """
        from qemu.qmp import ExecuteError, QMPError

        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._client.execute(command, arguments)
        except ExecuteError as refusal:
            raise MachineError(f"QEMU refuses {command}: {refusal}") from refusal
        except TimeoutError as late:
            raise DeadlineError(f"QEMU did not answer {command} in {self._timeout_s:g} s") from late
        except (QMPError, OSError, EOFError) as failure:
            raise MachineError(f"QEMU ended during {command}") from failure

    async def status(self) -> str:
        """QEMU's word for the guest's state (qapi/run-state.json, RunState)."""
        return str((await self.execute("query-status"))["status"])

    @contextlib.contextmanager
    def listening(self, *names: str) -> Iterator[AsyncIterator[QmpEvent]]:
        """Listen for the named events from now on; the iterator ends when QEMU does."""
        with self._client.listener(names) as listener:
            yield self._events(listener)

    async def _events(self, listener: EventListener) -> AsyncIterator[QmpEvent]:
        from qemu.qmp import Runstate

        while True:
            gone = self._client.runstate != Runstate.RUNNING  # checked first, so that earlier events are still returned
            try:
                async with asyncio.timeout(0 if gone and listener.empty() else _GONE_S):
                    message = await listener.get()
            except TimeoutError:
                if gone:
                    return
            else:
                data = message.get("data")
                yield QmpEvent(str(message["event"]), dict(data) if isinstance(data, dict) else {})


@contextlib.asynccontextmanager
async def connect(path: Path, *, timeout_s: float = 2.0) -> AsyncIterator[Qmp]:
    """Connect to the QMP socket `path`; it waits for its turn, at most `timeout_s`, which also limits each command.

    Raises:
        StateError: no process listens there.
        NotPermitted: this user has no permission.
        DeadlineError: the socket is busy, or QEMU does not answer.
        MachineError: the listener does not speak QMP, or QEMU ended.
    """
    client = await _connected(path, timeout_s)
    try:
        yield Qmp(client, timeout_s)
    finally:
        await _leave(client)


async def within(path: Path, timeout_s: float, work: Callable[[Qmp], Awaitable[T]]) -> T:
    """Connect, do `work`, disconnect. Raises as `connect` does."""
    async with connect(path, timeout_s=timeout_s) as monitor:
        return await work(monitor)


async def query_status(path: Path, *, timeout_s: float) -> str:
    """Connect, query the status, disconnect. Raises as `connect` and `Qmp.execute` do, within `timeout_s` in all."""
    try:
        async with asyncio.timeout(timeout_s):
            return await within(path, timeout_s, Qmp.status)
    except TimeoutError as late:
        raise DeadlineError(f"QEMU did not answer in {timeout_s:g} s") from late


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from synchronous code. Not from inside an event loop: use asyncio.to_thread around it there."""
    return asyncio.run(work)


async def _connected(path: Path, timeout_s: float) -> QMPClient:
    from qemu.qmp import ConnectError, QMPClient
    from qemu.qmp.qmp_client import NegotiationError

    logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # it logs the errors that it also raises
    until, misread = time.monotonic() + timeout_s, 0
    while True:
        client = QMPClient()
        client.events.event_filter = lambda _: False  # else it stores every event forever
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await client.connect(str(path))
                return client
        except TimeoutError as late:
            raise DeadlineError(
                f"QEMU's monitor {path} did not answer in {timeout_s:g} s: it is busy or hangs"
            ) from late
        except ConnectError as failure:
            cause = failure.exc
            # QEMU 7.2 sometimes begins with an event, or with nothing, just after another connection was closed.
            misread += isinstance(cause, NegotiationError)
            again = isinstance(cause, NegotiationError) and misread <= _MISREAD_MOST
            if not again and not (isinstance(cause, OSError) and cause.errno in _QUEUE_FULL):
                raise _refused(path, cause) from failure
        await asyncio.sleep(_RETRY_S)


def _refused(path: Path, cause: Exception) -> Exception:
    if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
        return StateError(f"no QEMU is listening at {path}", hint="to see its state: pommel status NAME")
    if isinstance(cause, PermissionError):
        return NotPermitted(f"you have no permission to open {path}: the machine belongs to another user")
    if isinstance(cause, EOFError | ConnectionError):
        return MachineError(f"QEMU ended while Pommel connected to it at {path}")
    return MachineError(f"{path} does not speak QMP: {cause}")


async def _leave(client: QMPClient) -> None:
    # A QEMU that ended, or that no longer reads, must not turn a successful command into a failure.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(1.0):
            await client.disconnect()
