"""Warm machines: clones that run and answer SSH before they are needed. Band: app.

    HOME/pool/wishes.json   the number of warm machines for each image; stored until it is changed
    HOME/pool/lock          held by the process that keeps them warm (`pool_process`)

The functions here are called in other processes: they set the number, list the machines, and take one. A machine of the
pool is leased to the pool's process, and its QEMU ends with that process. When a machine is taken, the process first
writes the taker's lease and then sends the pipe that keeps the QEMU running (`handing`). From then on the machine
belongs to the taker and ends with it, even if the pool's process ends.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pommel import json_file, locks
from pommel.app import own_process
from pommel.app.throwaway import base as bases
from pommel.app.throwaway import handing, holding
from pommel.app.workspace import Workspace
from pommel.errors import MachineError, StateError, UsageError
from pommel.host import ram
from pommel.machine.lease import Lease
from pommel.machine.permission import CLONED_LINKED, must_allow
from pommel.paths import Home, MachinePaths
from pommel.progress import Progress, Report, ignore, note
from pommel.settings import format_size

MOST = 64  # warm machines of one image
_END_S = 60.0
_BEGIN_S = 20.0
_LOCK_S = 10.0
_POLL_S = 0.05
_KEEP = b"k"


@dataclass(frozen=True, slots=True)
class PoolWish:
    """The number of warm machines of an image, their memory, and the folder whose pommel.toml applies."""

    size: int
    memory: str | None
    cwd: str

    @property
    def flags(self) -> dict[str, Any] | None:
        """The settings from the command line."""
        return {"memory": self.memory} if self.memory is not None else None


@dataclass(frozen=True, slots=True)
class Row:
    """One image: the number of wanted machines, and of warm ones. `problem`: why there are fewer."""

    pool_image: str
    pool_size: int
    warm: int
    making: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Pools:
    """All images with warm machines, and the pid of the pool's process; None: it does not run."""

    pool_pid: int | None
    pools: list[Row]

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class WarmMachine:
    """A warm machine that this process has taken. It ends with this process, unless `let_go_on` was called."""

    paths: MachinePaths
    from_memory: bool
    _pipe: int

    def let_go_on(self) -> None:
        """Let the machine run on after this process has ended."""
        os.write(self._pipe, _KEEP)


def wishes(home: Home) -> dict[str, PoolWish]:
    """The wished pools, by image."""
    return json_file.read_or(
        home.pool.wishes, lambda told: {str(image): PoolWish(**wish) for image, wish in told.items()}, {}
    )


@contextlib.contextmanager
def changing(home: Home) -> Iterator[dict[str, PoolWish]]:
    """The wishes, locked against other changes during the block; changes are stored at its end."""
    with locks.hold(home.pool.wishes_lock, busy="the pool is being changed", wait_s=_LOCK_S):
        found = wishes(home)
        before = dict(found)
        yield found
        if found != before:
            json_file.write(home.pool.wishes, {image: asdict(wish) for image, wish in found.items()}, indent=2)


def plan(image: str, size: int, memory: str | None = None, *, workspace: Workspace | None = None) -> list[str]:
    """What `resize` would do, in words. Raises the errors of `resize` that are known beforehand."""
    workspace = workspace or Workspace.current()
    if size == 0:
        return [f"end the warm machines of {image}, and keep none"]
    what = bases.describe(workspace, image)
    if what == image:
        _must_fit(workspace, image, PoolWish(size, memory, str(workspace.cwd)))
    return [f"keep {size} linked clones of {what} started, in the background"]


def resize(
    image: str,
    size: int,
    *,
    memory: str | None = None,
    wait: bool = False,
    workspace: Workspace | None = None,
    report: Report = ignore,
) -> Pools:
    """Keep `size` machines of `image` warm from now on; 0: none. With `wait`, return when they are warm.

    Raises:
        UsageError, StateError: there is no such image, it runs or cannot have linked clones; or this host's memory is
            too small for so many.
        MachineError: with `wait`: a machine cannot be made; the message says why. The wish stays.
    """
    workspace = workspace or Workspace.current()
    if size == 0:
        return _none(workspace, image, report)
    wish = PoolWish(size, memory, str(workspace.cwd))
    base = bases.resolve(workspace, image, report=report)
    _must_fit(workspace, base, wish)
    workspace.mark()
    workspace.home.pool.make()
    with changing(workspace.home) as wanted:
        wanted[image] = wish
    see_to(workspace, report=report)
    if wait:
        _await_warm(workspace, image, report)
    return listed(workspace=workspace)


def stop(*, workspace: Workspace | None = None, report: Report = ignore) -> bool:
    """End all warm machines and the pool's process, and remove all wishes; return whether there was anything."""
    workspace = workspace or Workspace.current()
    if not workspace.home.pool.directory.is_dir():
        return False
    with changing(workspace.home) as wanted:
        there = bool(wanted)
        wanted.clear()
    ended = own_process.end(workspace.home.pool.lock, within_s=_END_S)
    holding.sweep(workspace, report=report)
    return there or ended


def listed(*, workspace: Workspace | None = None) -> Pools:
    """The state of all pools. The pool's process is asked, but not started."""
    workspace = workspace or Workspace.current()
    home, told = workspace.home, dict[str, Any]()
    with contextlib.suppress(OSError, ValueError):
        told = handing.ask(home.pool.socket, {"look": True})[0].get("pools", {})
    why = None if (pid := locks.holder(home.pool.lock)) is not None else "its process has ended; pommel run starts it"
    rows = []
    for image, wish in sorted(wishes(home).items()):
        seen = told.get(image, {})
        made = Row(image, wish.size, int(seen.get("warm", 0)), bool(seen.get("making")), seen.get("problem") or why)
        rows.append(made)
    return Pools(pid, rows)


def see_to(workspace: Workspace, *, report: Report = ignore) -> None:
    """Start the pool's process if it does not run, and make it read the wishes now.

    Raises:
        MachineError: it does not start.
    """
    home, deadline, spawned = workspace.home, time.monotonic() + _BEGIN_S, False
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            if not handing.ask(home.pool.socket, {"look": True})[0].get("ending"):
                return
        if locks.holder(home.pool.lock) is None and not spawned:
            own_process.spawn(workspace, "pool", "--serve", log=home.pool.log).release()
            spawned = True
        time.sleep(_POLL_S)
    raise MachineError("the process of the pool does not start", hint=f"its log: {home.pool.log}")


@contextlib.contextmanager
def taken(
    workspace: Workspace, base: str, flags: Mapping[str, Any] | None, told: Lease, *, report: Report = ignore
) -> Iterator[WarmMachine | None]:
    """A warm machine of `base` for the block, with `told` as its lease; None: there is none that fits.

    The pool gives each machine only once. The caller must delete it. At the end of the block its QEMU is killed,
    unless `let_go_on` was called.
    """
    found = _take(workspace, base, flags, told, report)
    try:
        yield found
    finally:
        if found is not None:
            os.close(found._pipe)


def _take(
    workspace: Workspace, base: str, flags: Mapping[str, Any] | None, told: Lease, report: Report
) -> WarmMachine | None:
    home = workspace.home
    if not wishes(home):
        return None
    if locks.holder(home.pool.lock) is None:  # it was killed, or the host has been restarted
        own_process.spawn(workspace, "pool", "--serve", log=home.pool.log).release()
        note(report, "the process of the pool had ended, and is started again")
        return None
    question = {"take": base, "print": bases.fingerprint(workspace, base, flags), "lease": asdict(told)}
    try:
        answer, pipe = handing.ask(home.pool.socket, question)
    except (OSError, ValueError) as failure:
        note(report, f"the process of the pool does not answer: {failure or type(failure).__name__}")
        return None
    if pipe is None:
        if answer.get("why"):
            note(report, f"no warm machine: {answer['why']}")
        return None
    return WarmMachine(workspace.paths(answer["name"]), bool(answer["from_memory"]), pipe)


def _none(workspace: Workspace, image: str, report: Report) -> Pools:
    home = workspace.home
    if image not in wishes(home):
        raise StateError(f"no machine of {image} is kept warm", hint="to list the pools: pommel pool")
    with changing(home) as wanted:
        wanted.pop(image, None)
        last = not wanted
    if last:
        stop(workspace=workspace, report=report)
        return Pools(None, [])
    with contextlib.suppress(OSError, ValueError):
        handing.ask(home.pool.socket, {"look": True})
        deadline = time.monotonic() + _END_S
        while image in handing.ask(home.pool.socket, {"look": True})[0]["pools"] and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    return listed(workspace=workspace)


def _must_fit(workspace: Workspace, base: str, wish: PoolWish) -> None:
    if not 0 < wish.size <= MOST:
        raise UsageError(f"the pool keeps up to {MOST} machines of an image", hint="pommel pool IMAGE --size 2")
    each = workspace.spec(base, wish.flags).memory_bytes or 0
    all_of_it = ram.total_bytes()
    if each * wish.size > all_of_it:
        raise StateError(
            f"{wish.size} machines with {format_size(each)} need more memory than this host has "
            f"({format_size(all_of_it)})",
            hint=f"--size {max(1, all_of_it // each)}, or --memory with less",
        )
    must_allow(workspace.paths(base), CLONED_LINKED)


def _await_warm(workspace: Workspace, image: str, report: Report) -> None:
    began = time.monotonic()
    while True:
        row = next((row for row in listed(workspace=workspace).pools if row.pool_image == image), None)
        if row is None:
            raise StateError(f"the pool of {image} was removed meanwhile")
        if row.warm >= row.pool_size:
            report(Progress("pool", f"{row.warm} machines of {image} are warm", finished=True))
            return
        if row.problem is not None:
            raise MachineError(
                f"a machine of {image} cannot be kept warm: {row.problem}", hint="to look again: pommel pool"
            )
        waited = f"{row.warm} of {row.pool_size} machines of {image} are warm"
        report(Progress("pool", waited, time.monotonic() - began, None, "s"))
        time.sleep(0.2)


def workspace_of(workspace: Workspace, wish: PoolWish) -> Workspace:
    """The workspace of a wish: the pommel.toml of its folder applies, in its present form."""
    return replace(workspace, cwd=Path(wish.cwd))
