"""Get a throw-away machine that answers SSH: a warm one from the pool if one fits, or else a new clone. Band: app.

All code that runs something in a throw-away machine uses this module.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pommel.app.throwaway import holding, pool, starting
from pommel.app.throwaway.pool import WarmMachine
from pommel.app.workspace import Workspace
from pommel.machine import lease
from pommel.machine.lifecycle import Ends
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore


@dataclass(slots=True)
class Obtained:
    """A machine during a block of `machine`. If it is `warm`, it runs; otherwise it must be started."""

    paths: MachinePaths
    from_memory: bool
    _workspace: Workspace
    _base: str
    _flags: Mapping[str, Any] | None
    _taken: WarmMachine | None
    _report: Report

    @property
    def warm(self) -> bool:
        """Whether it came from the pool."""
        return self._taken is not None

    def start(self, *, ends_with_us: bool = True) -> None:
        """Start it, if it does not run, and wait for its SSH. Raises as `starting.start`."""
        if self._taken is None:
            base = self._workspace.paths(self._base)
            self.from_memory = starting.start(
                self._workspace, self.paths, base, self._flags, ends=Ends(ends_with_us), report=self._report
            )

    def keep(self) -> None:
        """Make it an ordinary machine, which stays after the block. One started with `ends_with_us` still ends."""
        lease.forget(self.paths)
        if self._taken is not None:
            self._taken.let_go_on()


@contextlib.contextmanager
def machine(
    workspace: Workspace,
    base: str,
    flags: Mapping[str, Any] | None = None,
    *,
    purpose: str = "run",
    pooled: bool = True,
    report: Report = ignore,
) -> Iterator[Obtained]:
    """A throw-away machine of `base` during the block. After it, the machine is deleted, unless it was kept.

    It ends with this process, even after a kill; then the next command deletes its files.

    Raises:
        StateError, UsageError, BuildError: as `clones.clone`.
    """
    with contextlib.ExitStack() as held:
        warm = None
        if pooled:
            told = lease.of_process(base, purpose, os.getpid())
            warm = held.enter_context(pool.taken(workspace, base, flags, told, report=report))
        if warm is not None:
            paths, from_memory = warm.paths, warm.from_memory
            held.enter_context(holding.gone_afterwards(workspace, paths))
        else:
            paths = held.enter_context(holding.held(workspace, base, prefix=purpose, purpose=purpose, report=report))
            from_memory = False
        yield Obtained(paths, from_memory, workspace, base, flags, warm, report)
