"""The work that keys started: in threads, several at a time, with their progress. Band: face.

A screen only gets the result of each, and decides itself what follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from pommel.errors import PommelError
from pommel.menu.jobs import MenuJob, attempt
from pommel.menu.widgets import StatusLine
from pommel.progress import Report

T = TypeVar("T")
WAITING = "waiting"  # for a desktop: this work is cancelled when a key starts other work on the machine
# More threads than needed, so that the list is still refreshed while five machines are being made.
THREADS = 32


class Workbench:
    """All work in progress, drawn on `said`."""

    def __init__(self, said: StatusLine) -> None:
        self._said = said
        self.jobs: list[MenuJob] = []

    @property
    def doing(self) -> dict[str, str]:
        """The present work on each machine; the newest counts."""
        return {job.name: job.doing for job in self.jobs}

    def at(self, name: str) -> list[MenuJob]:
        """The work on machine `name`."""
        return [job for job in self.jobs if job.name == name]

    async def do(self, name: str, doing: str, call: Callable[[Report], T]) -> T | None:
        """Do `call` in a thread; None if it failed, which was reported, or was cancelled."""
        job = MenuJob(name, doing)
        self.jobs.append(job)
        self.draw()
        try:
            outcome = await asyncio.to_thread(attempt, lambda: call(job.report))
        finally:
            self._tell_warnings(job)
            self.jobs.remove(job)
            self.draw()
        if outcome.error is not None:
            self.tell_error(outcome.error)
        return outcome.value

    def draw(self) -> None:
        """Draw how far all work is; called several times a second, since events come far more often."""
        for job in self.jobs:
            self._tell_warnings(job)
        self._said.tell_work([job.text for job in self.jobs])

    def tell_error(self, error: PommelError) -> None:
        """Show an error until the next key."""
        self._said.tell_error(error)

    def leave_off(self) -> None:
        """Cancel all work, each at its next report."""
        for job in self.jobs:
            job.leave_off()

    def _tell_warnings(self, job: MenuJob) -> None:
        while job.warnings:
            self._said.tell_warning(job.warnings.popleft())
