"""The work that keys began: in threads, several at a time, drawn while they last. Band: face.

A screen is told how each ended and nothing else: what follows from it is the screen's own affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from pommel.errors import PommelError
from pommel.menu.jobs import Job, attempt
from pommel.menu.widgets import Said
from pommel.progress import Report

T = TypeVar("T")
WAITING = "waiting"  # for a desktop: work that is left off as soon as something is to be done to the machine
# Rather a thread too many than a list that stands still because five machines are being made.
THREADS = 32


class Workbench:
    """All work in progress, drawn on `said`."""

    def __init__(self, said: Said) -> None:
        self._said = said
        self.jobs: list[Job] = []

    @property
    def doing(self) -> dict[str, str]:
        """What is being done to which machine; what began last counts."""
        return {job.name: job.doing for job in self.jobs}

    def at(self, name: str) -> list[Job]:
        """The work on machine `name`."""
        return [job for job in self.jobs if job.name == name]

    async def do(self, name: str, doing: str, call: Callable[[Report], T]) -> T | None:
        """Do `call` in a thread; None when it failed, which has been told, or was left off."""
        job = Job(name, doing)
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
        """Say what went wrong, until the next key."""
        self._said.tell_error(error)

    def leave_off(self) -> None:
        """End all work, at the next chance each gives."""
        for job in self.jobs:
            job.leave_off()

    def _tell_warnings(self, job: Job) -> None:
        while job.warnings:
            self._said.tell_warning(job.warnings.popleft())
