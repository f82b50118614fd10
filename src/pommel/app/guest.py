"""Reaching into a guest over SSH. Band: app."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import CommandFailed, DeadlineError, PommelError, StateError
from pommel.machine import record, state
from pommel.process import attach, run
from pommel.ssh import SshTarget, ssh_argv


def ssh_target(workspace: Workspace, name: str) -> SshTarget:
    """Where and as whom machine `name` answers SSH.

    Raises:
        StateError: the machine is not running.
    """
    spec = workspace.spec(name)
    paths = workspace.paths(name)
    if not state.observe(paths).alive:
        raise StateError(f"{name} is not running", hint=f"pommel start {name}")
    kept = record.load(paths.record)
    return SshTarget(
        alias=name,
        port=kept.ssh_port,
        user=workspace.ssh_user(spec),
        key=paths.ssh_key,
        known_hosts=paths.known_hosts,
        introduced=spec.upstream == TRIAL,  # the trial guest's host key was made with it; a Mac makes its own
    )


def ssh(workspace: Workspace, name: str, command: Sequence[str] = ()) -> int:
    """Open a shell in machine `name` on this terminal, or run `command` there; return its exit status.

    The words of `command` are joined by blanks and given to the guest's shell, as ssh(1) does.
    """
    tty = ["RequestTTY=auto"] if not command and sys.stdin.isatty() else []
    return attach(ssh_argv(ssh_target(workspace, name), command, options=tty))


def ssh_run(
    name: str,
    command: str,
    *,
    input: bytes | None = None,
    timeout_s: float = 60.0,
    workspace: Workspace | None = None,
) -> bytes:
    """Run `command` by the shell of machine `name`; return what it wrote to stdout.

    Raises:
        StateError: the machine is not running.
        CommandFailed: it failed, or SSH could not connect (exit status 255).
        DeadlineError: it took longer than `timeout_s`.
    """
    target = ssh_target(workspace or Workspace.current(), name)
    return run(ssh_argv(target, [command], batch=True), input=input, timeout_s=timeout_s).stdout


def ssh_answers(workspace: Workspace, name: str, *, timeout_s: float = 3.0) -> bool:
    """Whether the guest of machine `name` lets us in and runs a command, now."""
    try:
        target = ssh_target(workspace, name)
        run(
            ssh_argv(target, ["true"], batch=True, connect_timeout_s=max(1, int(timeout_s))),
            timeout_s=timeout_s + 2,
        )
    except (CommandFailed, DeadlineError):
        return False
    except PommelError:
        return False
    return True
