"""GitLab Runner's custom executor: a throw-away machine for each job. Band: app.

The runner calls `config`, `prepare`, `run` for each stage, and `cleanup` (docs.gitlab.com/runner/executors/custom). The
author of a job can set `CUSTOM_ENV_…`, so these variables are not trusted: the image must be on the list, and the job's
number comes from the runner's own file (JOB_RESPONSE_FILE). The runner's process holds the machine. When that process
has ended, or the job's time is long over, the next command deletes the machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import __version__, foreign, locks
from pommel.app.throwaway import base as bases
from pommel.app.throwaway import holding, pool, starting
from pommel.app.throwaway.job import OURS, SCRIPT, Job, script
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.machine import lease
from pommel.machine.lifecycle import STAYS
from pommel.paths import MachinePaths
from pommel.progress import Report

PURPOSE = "gitlab"
BUILD_FAILURE, SYSTEM_FAILURE = "BUILD_FAILURE_EXIT_CODE", "SYSTEM_FAILURE_EXIT_CODE"
_ID_MOST = 10**18
_RESPONSE_MOST = 64 << 20
_STAGE = f"{OURS}/stage"
_SCRIPT_MOST = 16 << 20
_TIMEOUT_S, _TIMEOUT_MOST_S = 3600.0, 30 * 86400.0
_GRACE_S = 3600.0  # after the job's limit, cleanup may take this long


@dataclass(frozen=True, slots=True)
class JobRules:
    """The images that jobs may use (the first is the default), and the number of jobs at the same time."""

    images: tuple[str, ...]
    most: int = 2


def config(rules: JobRules) -> dict[str, Any]:
    """The executor's configuration for the runner. The folders are in the guest, which is new for each job."""
    return {
        "builds_dir": "/tmp/builds",  # noqa: S108 - the guest's
        "cache_dir": "/tmp/cache",  # noqa: S108 - likewise
        "builds_dir_is_shared": False,
        "driver": {"name": "pommel", "version": __version__},
        "job_env": {"POMMEL_IMAGES": " ".join(rules.images)},
    }


def image_of(env: Mapping[str, str], rules: JobRules) -> str:
    """The image that the job wants.

    Raises:
        UsageError: it is not on the list.
    """
    wanted = env.get("CUSTOM_ENV_CI_JOB_IMAGE") or rules.images[0]
    if wanted not in rules.images:
        raise UsageError(f"the image {wanted!r} is not allowed here", hint=f"image: {rules.images[0]}")
    return wanted


def machine_of(workspace: Workspace, env: Mapping[str, str]) -> MachinePaths:
    """The job's machine, which may not exist.

    Raises:
        UsageError: the runner does not say which job it is.
        StateError: another machine has the name.
    """
    job = _job_id(env)
    for paths in lease.candidates(workspace.home):  # a machine from the pool keeps its name, so its lease is read
        if (told := lease.read(paths)) is not None and told.purpose == PURPOSE and told.job == job:
            return paths
    paths = workspace.paths(f"{PURPOSE}-{job}")
    if paths.record.exists() and lease.read(paths) is None:
        raise StateError(
            f"{paths.name} is another machine, not this job's", hint=f"pommel rename {paths.name} NEW-NAME"
        )
    return paths


def _job_id(env: Mapping[str, str]) -> int:
    """The job's number, from the runner's file: a job can set the variable CI_JOB_ID to another job's number."""
    path = env.get("JOB_RESPONSE_FILE")
    if not path:
        raise UsageError(
            "JOB_RESPONSE_FILE is not set, so it is not known which job this is",
            hint="GitLab Runner calls this command, and sets it; if it does not, install a newer GitLab Runner",
        )
    try:
        with Path(path).open("rb") as file:
            told = foreign.parse_json(file.read(_RESPONSE_MOST))
    except (OSError, ValueError) as failure:
        raise UsageError(f"{path} (JOB_RESPONSE_FILE) cannot be read: {failure}") from failure
    job = told.get("id") if isinstance(told, dict) else None
    if type(job) is not int or not 0 <= job < _ID_MOST:
        raise UsageError(f"{path} (JOB_RESPONSE_FILE) has no `id` that is a number")
    return job


def prepare(workspace: Workspace, env: Mapping[str, str], rules: JobRules, *, runner: int, report: Report) -> str:
    """Make the job's machine and wait for its SSH; return its name. After a failure it can be called again.

    `runner` is the pid of the process that holds the machine.

    Raises:
        UsageError: the job's image is not on the list.
        StateError: the limit of jobs is reached.
        MachineError, DeadlineError, BuildError: the machine cannot be made or does not start; nothing is left of it.
    """
    paths, image = machine_of(workspace, env), image_of(env, rules)
    holding.sweep(workspace, report=report)
    with locks.hold(lease.lock_of(paths), busy=f"{paths.name} is in use", wait_s=30):
        holding.remove(workspace, paths)
        _must_have_room(workspace, rules)
        base = workspace.paths(bases.resolve(workspace, image, report=report))
        told = lease.of_process(base.name, PURPOSE, runner, _lasts_s(env), job=_job_id(env))
        with pool.taken(workspace, base.name, None, told, report=report) as warm:
            if warm is not None:
                warm.let_go_on()  # the runner's process holds it from now on
                lease.lock_of(paths).unlink(missing_ok=True)
                return warm.paths.name
        try:
            holding.make(workspace, paths, told, report=report)
            starting.start(workspace, paths, base, ends=STAYS, report=report)
        except BaseException:  # also the runner's SIGTERM
            holding.remove(workspace, paths)
            raise
        finally:
            lease.lock_of(paths).unlink(missing_ok=True)
    return paths.name


def run_stage(workspace: Workspace, env: Mapping[str, str], path: Path) -> int:
    """Run the runner's script at `path` in the job's guest with bash; return its exit status.

    Raises:
        UsageError: the script is larger than 16 MiB.
        MachineError, CommandFailed, StateError: the guest has ended, or the connection was lost.
    """
    paths = machine_of(workspace, env)
    with path.open("rb") as file:
        text = file.read(_SCRIPT_MOST + 1)
    if len(text) > _SCRIPT_MOST:
        raise UsageError("the runner's script is larger than 16 MiB")
    starting.send(workspace, paths, {SCRIPT: script(Job(("bash", f"../{_STAGE}"))).encode(), _STAGE: text})
    return starting.execute(workspace, paths) or 0


def cleanup(workspace: Workspace, env: Mapping[str, str], *, report: Report) -> None:
    """Delete the job's machine, and all throw-away machines without a holder."""
    paths = machine_of(workspace, env)
    with locks.hold(lease.lock_of(paths), busy=f"{paths.name} is in use", wait_s=30):
        holding.remove(workspace, paths)
        lease.lock_of(paths).unlink(missing_ok=True)
    holding.sweep(workspace, report=report)


def exit_status(env: Mapping[str, str], failure: str) -> int:
    """The exit status for the runner: `failure` is the variable for a failure of the job or of the system."""
    said = env.get(failure, "")
    return int(said) if said.isascii() and said.isdigit() and 0 < int(said) < 256 else 1


def note_status(env: Mapping[str, str], status: int) -> None:
    """Write the job's exit status for the runner, if it wants it (BUILD_EXIT_CODE_FILE)."""
    if path := env.get("BUILD_EXIT_CODE_FILE"):
        Path(path).write_text(str(status), encoding="ascii")


def runner_config(rules: JobRules, command: Sequence[str], home: Path) -> str:
    """The text for the runner's config.toml."""
    own = ["--allow", *" --allow ".join(rules.images).split(), "--limit", str(rules.most)]
    start = [f"POMMEL_HOME={home}", *command, "ci", "gitlab", *own]
    lines = [
        f"# at the top of the file: concurrent = {rules.most} or more",
        "[[runners]]",
        '  name = "pommel"',
        '  url = "https://gitlab.example.com"',
        '  token = "…"',
        '  executor = "custom"',
        f"  limit = {rules.most}",
        "  [runners.custom]",
    ]
    for stage in ("config", "prepare", "run", "cleanup"):
        lines += [f'    {stage}_exec = "/usr/bin/env"', f"    {stage}_args = {json.dumps([*start, stage])}"]
    return "\n".join([*lines, "    graceful_kill_timeout = 60", "    force_kill_timeout = 10", ""])


def _must_have_room(workspace: Workspace, rules: JobRules) -> None:
    there = [each for paths in lease.candidates(workspace.home) if (each := lease.read(paths)) is not None]
    if sum(each.purpose == PURPOSE for each in there) >= rules.most:
        raise StateError(
            f"{rules.most} jobs run already, which is the limit", hint="set `limit` in the runner's config.toml"
        )


def _lasts_s(env: Mapping[str, str]) -> float:
    said = env.get("CUSTOM_ENV_CI_JOB_TIMEOUT", "")
    timeout_s = float(said) if said.isascii() and said.isdigit() and len(said) < 12 else _TIMEOUT_S
    return min(timeout_s, _TIMEOUT_MOST_S) + _GRACE_S


def runner_pid() -> int:
    """The process that called this command: the runner."""
    return os.getppid()
