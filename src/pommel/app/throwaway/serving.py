"""Run agents of CI systems, each in a throw-away machine for one job, one after another. Band: app.

Each CI system has a small description: how its agent is started in the guest (`AgentOrder`). The CI system has the
queue and decides which job an agent gets. From a job, only its agent's exit status comes to this host.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pommel import process
from pommel.app.throwaway import base as bases
from pommel.app.throwaway import holding, obtaining, starting
from pommel.app.throwaway.job import SCRIPT
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, NotPermitted, PommelError, UsageError
from pommel.machine import stopping
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note

_AGAIN_S, _AGAIN_MOST_S = 5.0, 300.0
_SHORT_S = 10.0  # an agent that fails within this time had no job: so the pause before the next try grows
_POLL_S = 0.2
_LINES = 5
_TOKEN_MOST = 64 << 10


class CiBusy(PommelError):
    """A CI system does not answer, or not now."""


class CiRefused(PommelError):
    """A CI system refuses, and would refuse again."""


@dataclass(frozen=True, slots=True)
class AgentOrder:
    """An agent for one machine: sh runs `script` in `folder` of the guest's home folder, which also gets `files`.

    `number` is the agent's id in the CI system.
    """

    name: str
    folder: str
    script: str
    files: Mapping[str, bytes]
    number: int = 0


class CiSystem(Protocol):
    """The part of a CI system that starts and removes agents."""

    @property
    def title(self) -> str:
        """Its name for people."""

    def order(self, name: str) -> AgentOrder:
        """How an agent is started; it may be registered here. Raises CiBusy, CiRefused."""

    def withdraw(self, order: AgentOrder) -> bool:
        """Remove an agent without a job; return whether it is removed. False: it has a job, or that is unknown."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The image, the number of agents at the same time, and whether to end after one job each (`once`)."""

    image: str
    limit: int = 1
    memory: str | None = None
    once: bool = False
    prefix: str = "ci"


@dataclass(slots=True)
class EndRequest:
    """The request to end: `drain`: start no new agents and wait; `end`: end at once."""

    drain: threading.Event = field(default_factory=threading.Event)
    end: threading.Event = field(default_factory=threading.Event)


def read_secret(path: Path | None, env: Mapping[str, str]) -> str:
    """A token from a file that only this user can read, or from POMMEL_CI_TOKEN. Never from a command line.

    Raises:
        UsageError: there is none.
        NotPermitted: other users can read the file.
    """
    if path is None:
        told = env.get("POMMEL_CI_TOKEN", "")
    else:
        try:
            with path.open("rb") as file:
                open_to_others = os.fstat(file.fileno()).st_mode & 0o077
                told = file.read(_TOKEN_MOST).decode()
        except (OSError, UnicodeDecodeError) as failure:
            raise UsageError(f"the token cannot be read: {failure}") from None
        if open_to_others:
            raise NotPermitted(f"other users can read the token in {path}", hint=f"chmod 600 {path}")
    told = told.strip()
    if not told or not told.isascii() or not told.isprintable() or " " in told:
        raise UsageError("there is no token", hint="--token-file FILE, or set POMMEL_CI_TOKEN")
    return told


def serve(workspace: Workspace, system: CiSystem, rules: Rules, ask: EndRequest, *, report: Report = ignore) -> int:
    """Run up to `rules.limit` agents, each in its own machine, until asked to end; return the number of ended agents.

    Raises:
        UsageError, StateError: the image does not exist, or cannot have linked clones.
        CiRefused: the system refuses the first agent. With `once` also: any other failure.
    """
    bases.describe(workspace, rules.image)
    holding.sweep(workspace, report=report)
    crew = _Crew(workspace, system, rules, ask, report)
    with ThreadPoolExecutor(rules.limit, thread_name_prefix="slot") as threads:
        work = [threads.submit(crew.work) for _ in range(rules.limit)]
        try:
            _follow(crew, work, ask)
        except BaseException:
            ask.drain.set()
            ask.end.set()
            crew.end_all()
            raise
    for each in work:
        each.result()
    return crew.ended


def _follow(crew: _Crew, work: list[Future[None]], ask: EndRequest) -> None:
    """Wait for all slots; requests to end are handled meanwhile."""
    told = False
    while wait(work, timeout=_POLL_S).not_done:
        if any(each.done() and each.exception() is not None for each in work):
            ask.drain.set()
        if ask.end.is_set():
            ask.drain.set()
            crew.end_all()
        elif ask.drain.is_set() and not told:
            told = True
            crew.end_idle()


class _Crew:
    """The slots, and the present machine of each."""

    def __init__(self, workspace: Workspace, system: CiSystem, rules: Rules, ask: EndRequest, report: Report) -> None:
        self._workspace, self._system, self._rules, self._ask = workspace, system, rules, ask
        self._report = report
        self._guard = threading.Lock()
        self._running: dict[str, tuple[MachinePaths, AgentOrder | None]] = {}
        self._worked = False  # the system has given an agent once
        self.ended = 0

    def work(self) -> None:
        """One slot: it runs one agent after another."""
        pause_s = _AGAIN_S
        while not self._ask.drain.is_set():
            began = time.monotonic()
            try:
                self._one()
            except PommelError as failure:
                if self._ask.drain.is_set():
                    return
                if self._rules.once or (isinstance(failure, CiRefused) and not self._worked):
                    raise
                if time.monotonic() - began > _SHORT_S and isinstance(failure, CommandFailed):
                    pause_s = _AGAIN_S
                note(self._report, f"{failure.message}; the next try is in {pause_s:.0f} s")
                self._ask.drain.wait(pause_s)
                pause_s = min(2 * pause_s, _AGAIN_MOST_S)
                continue
            if self._rules.once:
                return
            pause_s = _AGAIN_S

    def _one(self) -> None:
        """Make a machine, run an agent in it, and delete the machine."""
        flags = {"memory": self._rules.memory} if self._rules.memory is not None else None
        base = bases.resolve(self._workspace, self._rules.image, report=self._report)
        found = obtaining.machine(self._workspace, base, flags, purpose=self._rules.prefix, report=self._report)
        with found as machine:
            paths = machine.paths
            self._note(paths, None)
            try:
                machine.start()
                if (order := self._ordered(paths.name)) is None:
                    return
                self._note(paths, order)
                self._run(paths, order)
            finally:
                with self._guard:
                    self._running.pop(paths.name, None)

    def _ordered(self, name: str) -> AgentOrder | None:
        """The start of an agent, as soon as the system gives it; None: this process shall end."""
        pause_s = _AGAIN_S
        while not self._ask.drain.is_set():
            try:
                order = self._system.order(name)
            except CiBusy as busy:
                if self._rules.once:
                    raise
                note(self._report, f"{busy.message}; the next try is in {pause_s:.0f} s")
                self._ask.drain.wait(pause_s)
                pause_s = min(2 * pause_s, _AGAIN_MOST_S)
            else:
                self._worked = True
                return order
        return None

    def _run(self, paths: MachinePaths, order: AgentOrder) -> None:
        script = f'cd "$HOME" && cd -- {shlex.quote(order.folder)} || exit 125\n{order.script}\n'
        starting.send(self._workspace, paths, {**order.files, SCRIPT: script.encode()})
        note(self._report, f"{order.name}: an agent of {self._system.title} waits for a job, or has one")
        said: deque[str] = deque(maxlen=_LINES)
        try:
            process.stream(starting.call(self._workspace, paths, f"exec sh {SCRIPT}"), said.append)
        except CommandFailed as failure:
            last = "; ".join(line.strip()[:200] for line in said)
            raise CommandFailed([f"the agent in {order.name}"], failure.returncode, last) from None
        finally:
            self._system.withdraw(order)  # otherwise an agent without a job would stay in the system's list
        self.ended += 1
        note(self._report, f"{order.name}: its agent has ended")

    def _note(self, paths: MachinePaths, order: AgentOrder | None) -> None:
        with self._guard:
            self._running[paths.name] = (paths, order)

    def end_idle(self) -> None:
        """End the machines whose agents have no job, as far as the system can say."""
        for paths, order in self._now():
            if order is None or self._system.withdraw(order):
                _end(paths)
            else:
                note(self._report, f"{paths.name} may have a job, so it is waited for; another Ctrl-C ends it")

    def end_all(self) -> None:
        """End all machines."""
        for paths, _ in self._now():
            _end(paths)

    def _now(self) -> list[tuple[MachinePaths, AgentOrder | None]]:
        with self._guard:
            return list(self._running.values())


def _end(paths: MachinePaths) -> None:
    with contextlib.suppress(PommelError):  # it has ended by itself, or is just ending
        stopping.stop(paths, timeout_s=0, force=True)
    if not paths.directory.exists():  # its slot has deleted it meanwhile, and `stop` made the lock file again
        paths.lock.unlink(missing_ok=True)
