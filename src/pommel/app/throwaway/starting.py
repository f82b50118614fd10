"""Start a throw-away machine, from saved memory or by a boot, and use its guest by SSH. Band: app."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pommel import process
from pommel.app.guest import shell as guest
from pommel.app.throwaway import archives
from pommel.app.throwaway.job import OURS, SCRIPT, STATUS, WORK
from pommel.app.workspace import Workspace
from pommel.errors import CommandFailed, DeadlineError, MachineError, NotPermitted, PommelError
from pommel.machine.lifecycle import Ends
from pommel.paths import MachinePaths
from pommel.progress import Report, warn
from pommel.ssh import multiplexed, ssh_argv

COPY_S = 3600.0
_CONNECTION = 255  # ssh(1): ssh's own error, or the command's status
_SHORT_S = 60.0
_LOGIN_S = 300.0  # on a busy host
_PREPARE = f"umask 077 && cd && rm -rf {OURS} {WORK} && mkdir {OURS} && exec tar -xf -"


def start(
    workspace: Workspace,
    paths: MachinePaths,
    base: MachinePaths,
    flags: Mapping[str, Any] | None = None,
    *,
    ends: Ends,
    report: Report,
) -> bool:
    """Start the clone and wait for its SSH; return whether it continued from its base's saved memory.

    `ends` says what ends it besides `stop`.

    Raises:
        MachineError, DeadlineError: it does not start, or does not answer.
    """
    from pommel.app.machine import power, waiting  # imported late: a warm machine does not need them
    from pommel.app.throwaway.warming import FromMemory

    memory = FromMemory(workspace, paths, base, report)
    launch = partial(power.launch, workspace, paths.name, flags, ends=ends, report=report)
    try:
        launch(more=memory.words, then=memory.load)
    except (MachineError, DeadlineError) as failure:
        if not memory.fits:
            raise
        warn(report, f"the saved memory of {base.name} cannot be loaded, so {paths.name} boots: {failure.message}")
        launch()
        memory.fits = False
    if memory.fits:
        _set_clock(workspace, paths, memory.rested_s, report)
    else:
        waiting.wait(paths.name, "ssh", workspace=workspace, report=report)
    return memory.fits


def _set_clock(workspace: Workspace, paths: MachinePaths, rested_s: float, report: Report) -> None:
    """Set the clock of a guest that continues from memory. This is also the first login, which shows that SSH works."""
    if not workspace.spec(paths.name).set_clock:
        return
    from pommel.app.guest import clock

    try:
        clock.put_right(paths.name, lost_s=rested_s, workspace=workspace)
    except (NotPermitted, CommandFailed, DeadlineError) as failure:
        warn(report, f"the clock of {paths.name} is behind: {failure.message}")


def connected(
    workspace: Workspace,
    paths: MachinePaths,
    base: MachinePaths,
    flags: Mapping[str, Any] | None,
    *,
    ends: Ends,
    report: Report,
) -> bool:
    """As `start`, and open the connection that all later calls to the guest share while it runs.

    Raises:
        CommandFailed: the guest refuses the login. And as `start`.
    """
    warm = start(workspace, paths, base, flags, ends=ends, report=report)
    shared = multiplexed(guest.shared_socket(workspace, paths.name), persist_s=0)
    target = guest.ssh_target(workspace, paths.name)
    process.run(
        ssh_argv(target, ["true"], batch=True, connect_timeout_s=int(_LOGIN_S), shared=shared), timeout_s=_LOGIN_S
    )
    return warm


def send(workspace: Workspace, paths: MachinePaths, files: Mapping[str, bytes], folder: Path | None = None) -> None:
    """Write `files` to the guest's home folder, and the content of `folder` to a new work folder there.

    Raises:
        CommandFailed, DeadlineError: the guest could not write them.
    """
    argv = call(workspace, paths, _PREPARE)
    process.feed(argv, lambda pipe: archives.write(pipe, files, folder, WORK), timeout_s=COPY_S)


def execute(
    workspace: Workspace, paths: MachinePaths, *, timeout_s: float | None = None, to_stderr: bool = False
) -> int | None:
    """Run the sent script with this process's standard streams; return its exit status. None: the time was over.

    Raises:
        MachineError: the connection was lost, so the result is unknown.
    """
    argv = call(workspace, paths, f"exec sh {SCRIPT}")
    told = process.follow(argv, timeout_s=timeout_s, to_stderr=to_stderr)
    if told == -signal.SIGINT:
        raise KeyboardInterrupt
    return told if told is None or 0 <= told != _CONNECTION else _written_status(workspace, paths)


def _written_status(workspace: Workspace, paths: MachinePaths) -> int:
    """The status in the guest's file, because ssh's 255 may mean a lost connection or the command's own 255."""
    argv = call(workspace, paths, f"cat {STATUS}")
    with contextlib.suppress(PommelError, ValueError):
        written = int(process.run(argv, timeout_s=_SHORT_S).stdout[:8])
        if 0 <= written <= _CONNECTION:
            return written
    raise MachineError(f"the connection to {paths.name} was lost while the command ran")


def call(workspace: Workspace, paths: MachinePaths, command: str) -> list[str]:
    """The ssh command that runs `command` in the guest's shell."""
    target = guest.ssh_target(workspace, paths.name)
    return ssh_argv(target, [command], batch=True, shared=multiplexed(guest.shared_socket(workspace, paths.name)))
