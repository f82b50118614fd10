"""Starts a machine. Others stop it (`stopping`), pause it (`pausing`), wait for its end (`ending`). Band: shell.

A start ends with a QEMU that answers QMP, or with none. It knows nothing of the command line except that it has
`-pidfile` and `-qmp` at the machine's own paths. Synchronous: inside an event loop, use asyncio.to_thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pommel import locks, process
from pommel.errors import DeadlineError, MachineError, PommelError, StateError
from pommel.machine import logs, state
from pommel.machine.ending import How, RunEnd, how_it_ended, note_crash, wait_end
from pommel.machine.events import Word, note_event
from pommel.machine.exclusive import serialised, sweep
from pommel.machine.pausing import pause, resume
from pommel.machine.pinned import pin_holder
from pommel.machine.stopping import Patience, StopResult, stop
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report, ignore

__all__ = [
    "STAYS",
    "Ends",
    "How",
    "Patience",
    "RunEnd",
    "Started",
    "StopResult",
    "how_it_ended",
    "pause",
    "resume",
    "start",
    "stop",
    "wait_end",
]

_POLL_S = 0.005
_HELLO_S = 1.0  # one try at QMP during a start; at its end, the loop also checks whether QEMU died
ANSWERS_S = 30.0  # the maximum time until QEMU answers QMP
_GRACE_S = 3.0  # for a QEMU whose start is cancelled


@dataclass(frozen=True, slots=True)
class Ends:
    """What ends QEMU, besides a request.

    `with_us`: the end of the calling thread, also by a kill. `pipe` is the reading end of a pipe: QEMU ends when
    nobody has the writing end any more (`lifeline.py`).
    """

    with_us: bool = False
    pipe: int | None = None


STAYS = Ends()


@dataclass(frozen=True, slots=True)
class Started:
    """A running machine: QEMU's pid, and the time until it answered QMP."""

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
    ends: Ends = STAYS,
    report: Report = ignore,
) -> Started:
    """Start QEMU with `argv` in a session of its own and wait until it answers QMP.

    It runs in `cwd` (default: the machine's folder), for names of an upstream that stay relative, as `fat:`.
    `env` are variables in addition to our own; `secret` is all that it can read from its standard input.
    Guest writes that will be discarded go to nameless files in the machine's folder: they can grow to the size of its
    disk, and the usual folder for temporary files may be small, or in memory.

    After any interruption, a half-started QEMU is ended; after a kill -9 of this process, the machine runs, unless
    `ends` says otherwise.

    Raises:
        StateError: the machine is already running.
        BusyError: another process works on it.
        MachineError: QEMU ended at once; the message has the last lines of its log.
        DeadlineError: it did not answer QMP in half a minute; it has been ended.
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
            words, passed = _tied(argv, ends.pipe) if ends.pipe is not None else (argv, ())
            spawn = partial(process.spawn_detached, words, paths.log, cwd=cwd or paths.directory, input=secret)
            spawn = partial(spawn, env=_environment(paths, env), ends_with_us=ends.with_us, passed=passed)
            pid = _start(paths, argv, accel, spawn, began + ANSWERS_S)
        except OSError as failure:  # a full disk, or a folder without write permission
            raise MachineError(f"{paths.name} cannot be started: {failure}") from failure
        took = time.monotonic() - began
    report(Progress("start", f"{paths.name} runs (pid {pid})", done=took, unit="s", finished=True))
    return Started(pid, took)


def _tied(argv: Sequence[str], fd: int) -> tuple[list[str], tuple[int, ...]]:
    """The command that runs `argv` as long as the pipe is held, and the inherited descriptors."""
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("lifeline.py")), str(fd), *argv], (fd,)


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
        except BaseException:  # for Ctrl-C too
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
    from pommel.machine import qmp  # the import costs nothing here, because QEMU is still starting

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
            with contextlib.suppress(PommelError):  # not ready yet, or dead: the next round finds out
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
    """End a QEMU that is no longer wanted; first with SIGTERM, because its guest may have begun to write."""
    with pin_holder(paths.pidfile) as qemu:
        if qemu is not None:
            qemu.send(signal.SIGTERM)
            if not qemu.ended(_GRACE_S):
                qemu.send(signal.SIGKILL)
                qemu.ended(_GRACE_S)
    child.kill()
