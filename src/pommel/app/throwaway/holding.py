"""Make, hold and delete a throw-away machine, and delete those that no process holds any more. Band: app."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from pommel import locks
from pommel.app.guest import shell as guest
from pommel.app.machine import clones, machines
from pommel.app.throwaway import base as bases
from pommel.app.throwaway import bringing
from pommel.app.workspace import Workspace
from pommel.errors import BusyError, PommelError
from pommel.machine import lease, leftovers, stopping
from pommel.machine.exclusive import serialised
from pommel.machine.lease import Lease
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note

_RANDOM_BYTES = 4
_LOOK_S = 30.0  # another command may hold the lock for a moment to test whether the machine is held
_BASE_WAIT_S = 120.0  # other commands may clone the same base at this moment


def new_name(prefix: str) -> str:
    """A new name: `prefix` and eight random hexadecimal digits."""
    return f"{prefix}-{os.urandom(_RANDOM_BYTES).hex()}"


@contextlib.contextmanager
def held(
    workspace: Workspace, base: str, *, prefix: str = "run", purpose: str = "run", report: Report = ignore
) -> Iterator[MachinePaths]:
    """Make a stopped throw-away machine for the block, held by a lock. At the end it is deleted, if it has its lease.

    Raises:
        StateError, UsageError, BuildError: as `clones.clone`.
    """
    paths = workspace.paths(new_name(prefix))
    with gone_afterwards(workspace, paths):
        make(workspace, paths, Lease(base, purpose), report=report)
        yield paths


@contextlib.contextmanager
def gone_afterwards(workspace: Workspace, paths: MachinePaths) -> Iterator[None]:
    """Hold the throw-away machine, which may be made in the block. At the end it is deleted, if it has its lease."""
    with locks.hold(lease.lock_of(paths), busy=f"{paths.name} is in use", wait_s=_LOOK_S):
        try:
            yield
        finally:
            with undisturbed():
                if lease.read(paths) is not None or not paths.directory.exists():
                    remove(workspace, paths)
                lease.lock_of(paths).unlink(missing_ok=True)


def make(workspace: Workspace, paths: MachinePaths, told: Lease, *, report: Report = ignore) -> None:
    """Make the machine as a linked clone of `told.base`, with its lease."""
    clone = clones.Throwaway(told, bases.settings(workspace, told.base))
    with serialised(workspace.paths(told.base), wait_s=_BASE_WAIT_S):
        clones.clone(told.base, paths.name, linked=True, throwaway=clone, workspace=workspace, report=report)


def remove(workspace: Workspace, paths: MachinePaths) -> None:
    """End the throw-away machine at once, and delete all its files. It may be incomplete, or deleted already."""
    if paths.directory.exists():
        bringing.sweep(paths)
        with contextlib.suppress(OSError, PommelError):
            guest.end_shared(workspace, paths.name)
        with contextlib.suppress(PommelError):  # it may have ended by itself; `delete` reports what cannot be deleted
            stopping.stop(paths, timeout_s=0, force=True)
        machines.delete(paths.name, workspace=workspace)
    leftovers.sweep_unfinished(workspace.home.machines)
    paths.lock.unlink(missing_ok=True)


def sweep(workspace: Workspace, *, report: Report = ignore) -> list[str]:
    """Delete every throw-away machine that no process holds; return their names. Without any, this is quick."""
    swept = []
    for paths in lease.candidates(workspace.home):
        with contextlib.suppress(BusyError, OSError), locks.hold(lease.lock_of(paths), busy="in use"):
            if not paths.directory.exists() or not lease.is_held_by_process(paths):
                was_there = paths.directory.exists()
                with undisturbed():
                    try:
                        remove(workspace, paths)
                    except PommelError as failure:
                        note(report, f"{paths.name} is left over and cannot be removed: {failure.message}")
                        continue
                    lease.lock_of(paths).unlink(missing_ok=True)
                if was_there:
                    swept.append(paths.name)
                    note(report, f"{paths.name} was left over from a command that was killed, and is removed")
    return swept


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Block signals during a short clean-up, so that a second Ctrl-C or SIGTERM does not interrupt it."""
    signs = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signs)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
