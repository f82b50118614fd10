"""Start a machine; and stop it (`stopping`), hold it (`pausing`), wait for its end (`ending`). Band: shell.

Start ends with a QEMU that answers QMP, or with none. Knows nothing of what is in the command line but that it has
`-pidfile` and `-qmp` at the machine's own paths. Synchronous: inside an event loop, use asyncio.to_thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pommel import locks, process
from pommel.errors import DeadlineError, MachineError, PommelError, StateError
from pommel.machine import logs, state
from pommel.machine.ending import Ended, How, how_it_ended, note_crash, wait_end
from pommel.machine.events import Word, note_event
from pommel.machine.exclusive import serialised, sweep
from pommel.machine.pausing import pause, resume
from pommel.machine.pinned import pin_holder
from pommel.machine.stopping import Patience, Stopped, stop
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore

__all__ = [
    "Ended",
    "How",
    "Patience",
    "Started",
    "Stopped",
    "how_it_ended",
    "pause",
    "resume",
    "start",
    "stop",
    "wait_end",
]

_POLL_S = 0.005
_HELLO_S = 1.0  # one try at QMP during a start; its end also shows that QEMU died
_GRACE_S = 3.0  # for a QEMU that is called off


@dataclass(frozen=True, slots=True)
class Started:
    """A machine that runs: QEMU's pid, and how long it took to answer QMP."""

    pid: int
    took_s: float


def start(
    paths: MachinePaths,
    argv: Sequence[str],
    *,
    accel: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    secret: bytes | None = None,
    report: Report = ignore,
    timeout_s: float = 30.0,
) -> Started:
    """Start QEMU with `argv` in a session of its own and wait until it answers QMP.

    It runs in `cwd` (default: the machine's folder), for what an upstream names in ways that stay relative, as `fat:`.
    `env` are variables that it sees beside our own; `secret` is all that it can read from its standard input.
    What its guest writes only to be discarded goes to nameless files in the machine's folder: they can grow as large
    as its disk, and the usual place for temporary files may be small, or memory.

    Whatever interrupts it, a half-started QEMU is ended; after a kill -9 of this process, the machine runs.

    Raises:
        StateError: the machine is already running.
        BusyError: somebody else is at work on it.
        MachineError: QEMU ended at once; the message carries the last lines it logged.
        DeadlineError: it did not answer QMP in `timeout_s`; it has been ended.
    """
    with serialised(paths):
        if (pid := locks.holder(paths.pidfile)) is not None:
            raise StateError(
                f"{paths.name} is already running ({locks.whom(pid)})", hint=f"pommel console {paths.name}"
            )
        paths.make_runtime()
        note_crash(paths)
        sweep(paths)
        began = time.monotonic()
        report(Progress("start", f"starting {paths.name}"))
        try:
            spawn = partial(process.spawn_detached, argv, paths.log, cwd=cwd or paths.directory, input=secret)
            pid = _start(paths, argv, accel, partial(spawn, env=_environment(paths, env)), began + timeout_s)
        except OSError as failure:  # a full disk, a folder that may not be written to
            raise MachineError(f"{paths.name} cannot be started: {failure}") from failure
        took = time.monotonic() - began
    report(Progress("start", f"{paths.name} runs (pid {pid})", done=took, unit="s", finished=True))
    return Started(pid, took)


def _environment(paths: MachinePaths, more: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(paths.directory), **(more or {})}


def _start(
    paths: MachinePaths,
    argv: Sequence[str],
    accel: str | None,
    spawn: Callable[[], process.Detached],
    deadline: float,
) -> int:
    try:
        state.mark_starting(paths)
        offset = logs.begin(paths, f"{paths.name} starts: {argv[0]} with {len(argv) - 1} arguments")
        note_event(paths, Word.START, f"{argv[0]} with {len(argv) - 1} arguments")
        child = spawn()
        try:
            _await_qmp(paths, child, offset, deadline)
            pid = locks.holder(paths.pidfile)
            if pid is None:
                raise MachineError(
                    f"QEMU runs, but does not lock {paths.pidfile}; check that -pidfile is among its arguments"
                )
            state.mark_running(paths, pid, accel)
            note_event(paths, Word.RUNNING, f"QEMU answers (pid {pid}{f', {accel}' if accel else ''})")
        except BaseException:  # Ctrl-C too
            _call_off(paths, child)
            raise
        child.release()
    except BaseException as failure:
        said = failure.message if isinstance(failure, PommelError) else type(failure).__name__
        note_event(paths, Word.START_FAILED, said)
        sweep(paths)
        raise
    return pid


def _await_qmp(paths: MachinePaths, child: process.Detached, offset: int, deadline: float) -> None:
    from pommel.machine import qmp  # while QEMU is busy with itself, we have time to import it

    while True:
        status = child.exit_status()
        if status is not None and locks.holder(paths.pidfile) is None:
            raise _died(paths, status, offset)
        if time.monotonic() >= deadline:
            said = logs.tail(paths, 10, since=offset)
            raise DeadlineError(
                f"{paths.name} was started, but its QEMU did not answer in time" + (f":\n{said}" if said else ""),
                hint=f"pommel log {paths.name}",
            )
        if paths.qmp.exists():
            with contextlib.suppress(PommelError):  # not yet, or dead: the next round tells
                qmp.run(qmp.query_status(paths.qmp, timeout_s=_HELLO_S))
                return
        time.sleep(_POLL_S)


def _died(paths: MachinePaths, status: int, offset: int) -> MachineError:
    how = f"exit status {status}"
    if status < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-status).name
    said = logs.tail(paths, 10, since=offset) or "it printed nothing"
    return MachineError(f"{paths.name} did not start; QEMU ended with {how}:\n{said}", hint=f"pommel log {paths.name}")


def _call_off(paths: MachinePaths, child: process.Detached) -> None:
    """End a QEMU that is not wanted after all; gently first, since its guest may have begun to write."""
    with pin_holder(paths.pidfile) as qemu:
        if qemu is not None:
            qemu.send(signal.SIGTERM)
            if not qemu.ended(_GRACE_S):
                qemu.send(signal.SIGKILL)
                qemu.ended(_GRACE_S)
    child.kill()
