"""A small stand-in for launchd, for what jobs with QueueDirectories live through. Written from launchd.plist(5).

    QueueDirectories    "keep the job alive as long as the directory or directories specified are not empty"
    ThrottleInterval    a job is not started more often than this, 10 s unless it says otherwise
    RunAtLoad           started once when it is loaded

Nothing stops a job that runs: not even its directories' becoming empty. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol


class Running(Protocol):
    """A started job."""

    def poll(self) -> int | None: ...


class Launchd:
    """One loaded job. `start` is called with its ProgramArguments; `starts` are the times when it was."""

    def __init__(self, job: Mapping[str, Any], start: Callable[[list[str]], Running]) -> None:
        self._job = job
        self._start = start
        self._throttle_s = job.get("ThrottleInterval", 10)
        self._running: Running | None = None
        self._at_load = bool(job.get("RunAtLoad"))
        self.starts: list[float] = []

    def tick(self, now_s: float) -> None:
        """Do what is due at `now_s`, seconds on any clock that does not go back."""
        if self._running is not None and self._running.poll() is not None:
            self._running = None
        if self._running is None and self._is_wanted() and self._may_start(now_s):
            self._at_load = False
            self.starts.append(now_s)
            self._running = self._start(self._job["ProgramArguments"])

    def _is_wanted(self) -> bool:
        queues = (Path(folder) for folder in self._job.get("QueueDirectories", ()))
        return self._at_load or any(queue.is_dir() and any(queue.iterdir()) for queue in queues)

    def _may_start(self, now_s: float) -> bool:
        return not self.starts or now_s - self.starts[-1] >= self._throttle_s
