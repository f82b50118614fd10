"""`run`: run one command in a linked clone, and delete the clone after it. Band: app."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from pommel.app.throwaway import base, bringing, holding, obtaining, pool, starting
from pommel.app.throwaway.job import FAILED, SCRIPT, TIMED_OUT, WORK, CopyOut, Job, script
from pommel.app.throwaway.obtaining import Obtained
from pommel.app.workspace import Workspace
from pommel.errors import (
    CommandFailed,
    PommelError,
    UsageError,
)
from pommel.paths import MachinePaths
from pommel.progress import Report, ignore, note, warn


@dataclass(slots=True)
class RunOutcome:
    """The result of a run: `status` is the exit status, `how` is "exited", "timed out" or "failed".

    Times in seconds.
    """

    machine: str
    base: str
    status: int = FAILED
    how: str = "failed"
    from_memory: bool = False
    from_pool: bool = False
    kept_machine: bool = False
    copied_out: list[str] = field(default_factory=list)
    made_s: float = 0.0
    ready_s: float = 0.0
    command_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """As one JSON object."""
        told = asdict(self)
        return {"name": told.pop("machine"), "clone_of": told.pop("base"), "exit": told.pop("status"), **told}


def plan(image: str, job: Job, *, workspace: Workspace | None = None) -> list[str]:
    """What `run` would do, in words. Raises the errors of `run` that are known beforehand."""
    workspace = workspace or Workspace.current()
    _check(job)
    steps = [f"create a linked clone of {base.describe(workspace, image)}", "start it and wait for its SSH"]
    if job.pooled and any(wish.size for wish in pool.wishes(workspace.home).values()):
        steps = [f"take a warm machine of {base.describe(workspace, image)} from the pool if there is one", *steps]
        steps[1] = f"else {steps[1]}"
    steps += [f"copy what is in {job.copy_in} to {WORK} in its user's home folder"] if job.copy_in else []
    steps += [f"run there: {' '.join(job.command)}"]
    steps += [f"copy {each.path} to {each.target}" for each in job.copy_out]
    return [*steps, "delete the clone" + (", unless something fails" if job.keep_on_failure else "")]


def run(
    image: str,
    job: Job,
    *,
    workspace: Workspace | None = None,
    to_stderr: bool = False,
    report: Report = ignore,
) -> RunOutcome:
    """Run a command in a linked clone of `image`, with this process's standard streams; then delete the clone.

    With `to_stderr`, the command's standard output goes to standard error. The clone ends with this process, even
    after a kill; then the next `run` or `list` deletes its files.

    Raises:
        UsageError, StateError: `image` does not exist, runs, or cannot have linked clones; or a copy's target exists.
        MachineError, DeadlineError: the clone does not start, or its SSH does not answer.
        CommandFailed, ProtocolError, BuildError: a copy failed, or the connection was lost.
    """
    workspace = workspace or Workspace.current()
    _check(job)
    holding.sweep(workspace, report=report)
    began = time.monotonic()
    made = base.resolve(workspace, image, report=report)
    with obtaining.machine(workspace, made, job.flags, pooled=job.pooled, report=report) as found:
        outcome = RunOutcome(found.paths.name, made, made_s=_since(began), from_pool=found.warm)
        with _kept_where_it_fails(found, job, outcome, report):
            found.start(ends_with_us=not job.keep_on_failure)
            outcome.from_memory, outcome.ready_s = found.from_memory, _since(began)
            _do(workspace, found.paths, job, outcome, to_stderr, report)
    return outcome


@contextlib.contextmanager
def _kept_where_it_fails(found: Obtained, job: Job, outcome: RunOutcome, report: Report) -> Iterator[None]:
    try:
        yield
    except PommelError:
        _keep(found, job, outcome, report)
        raise
    if outcome.status != 0:
        _keep(found, job, outcome, report)


def _keep(found: Obtained, job: Job, outcome: RunOutcome, report: Report) -> None:
    paths = found.paths
    if job.keep_on_failure and paths.record.exists():
        found.keep()
        outcome.kept_machine = True
        note(report, f"{paths.name} is kept: pommel ssh {paths.name}; to delete it: pommel stop {paths.name} --force, "
                     f"then pommel delete {paths.name}")  # fmt: skip


def _do(
    workspace: Workspace, paths: MachinePaths, job: Job, outcome: RunOutcome, to_stderr: bool, report: Report
) -> None:
    text = script(job).encode("utf-8", "surrogateescape")
    starting.send(workspace, paths, {SCRIPT: text}, job.copy_in)
    began = time.monotonic()
    status = starting.execute(workspace, paths, timeout_s=job.timeout_s, to_stderr=to_stderr)
    outcome.command_s = _since(began)
    if status is None:
        outcome.status, outcome.how = TIMED_OUT, "timed out"
        warn(report, f"the command was ended, because it took longer than {job.timeout_s:g} s")
    else:
        outcome.status, outcome.how = status, "exited"
    for each in job.copy_out:
        _bring(workspace, paths, each, outcome, report)


def _bring(workspace: Workspace, paths: MachinePaths, wanted: CopyOut, outcome: RunOutcome, report: Report) -> None:
    """Copy a file or folder out. After a failed command it may not exist: then that is only a warning."""
    try:
        bringing.bring(workspace, paths, wanted, report)
    except CommandFailed as failure:
        if outcome.status == 0:
            raise
        warn(report, f"{wanted.path} cannot be copied out: {failure.message}")
        return
    outcome.copied_out.append(str(wanted.target))


def _check(job: Job) -> None:
    """Check that the named folders exist, and that no file of the user would be overwritten."""
    if not job.command:
        raise UsageError("give the command to run", hint="pommel run IMAGE -- COMMAND")
    if any("\0" in word for word in job.command):
        raise UsageError("the command has a null byte")
    if job.copy_in is not None and not job.copy_in.is_dir():
        raise UsageError(f"{job.copy_in} is not a folder", hint="--copy-in takes a folder; what is in it is copied")
    targets = [each.target for each in job.copy_out]
    if len(set(targets)) < len(targets):
        raise UsageError("two of --copy-out would be written to the same place", hint="--copy-out PATH=FOLDER")
    for each in job.copy_out:
        bringing.refuse_taken(each)


def _since(began: float) -> float:
    return round(time.monotonic() - began, 2)
