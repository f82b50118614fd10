"""Reaching into a guest over SSH. Band: app."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pommel.app import reach
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import CommandFailed, DeadlineError, MissingProgram, PommelError, StateError, UsageError
from pommel.machine import state
from pommel.process import attach, run
from pommel.ssh import (
    NEWER,
    SshAddress,
    SshTarget,
    configuration_argv,
    end_shared_argv,
    forwards,
    host_block,
    multiplexed,
    remote,
    scp_argv,
    ssh_argv,
    understands_argv,
)

# Without a password: as root where sudo lets us, else by asking the desktop's own session.
_SHUT_DOWN = (
    "sudo -n /sbin/shutdown -h now 2>/dev/null || "
    "osascript -e 'tell application \"System Events\" to shut down' 2>/dev/null"
)


def ssh_target(workspace: Workspace, name: str) -> SshTarget:
    """Where and as whom machine `name` answers SSH.

    Raises:
        StateError: the machine is not running, or nobody here knows its guest's address.
    """
    workspace.settings(name)
    if not state.observe(workspace.paths(name)).alive:
        raise StateError(f"{name} is not running", hint=f"pommel start {name}")
    return _target(workspace, name)


def known_target(workspace: Workspace, name: str) -> SshTarget:
    """Where and as whom machine `name` answers SSH whenever it runs.

    Raises:
        StateError: it has not been made yet, or nobody here knows its guest's address.
    """
    workspace.made(name)
    return _target(workspace, name)


def _target(workspace: Workspace, name: str) -> SshTarget:
    spec, paths = workspace.spec(name), workspace.paths(name)
    where = reach.address(workspace, name)
    return SshTarget(
        alias=name,
        host=where.host,
        port=where.port,
        user=workspace.ssh_user(spec),
        key=paths.ssh_key,
        known_hosts=paths.known_hosts,
        introduced=spec.upstream == TRIAL,  # the trial guest's host key was made with it; a Mac makes its own
    )


def ssh(workspace: Workspace, name: str, command: Sequence[str] = ()) -> int:
    """Open a shell in machine `name` on this terminal, or run `command` there; return its exit status.

    The words of `command` are joined by blanks and given to the guest's shell, as ssh(1) does.
    """
    tty = ("RequestTTY=auto",) if not command and sys.stdin.isatty() else ()
    shared = multiplexed(shared_socket(workspace, name))
    return attach(ssh_argv(ssh_target(workspace, name), command, options=tty, shared=shared))


def scp(workspace: Workspace, words: Sequence[str]) -> int:
    """Copy files as scp(1) does, where NAME:PATH is a file of machine NAME; return its exit status.

    Raises:
        UsageError: no word names a machine's file, or two machines are named.
        StateError: the machine is not running.
    """
    name = named_in(workspace, words)
    target = ssh_target(workspace, name)
    told = [remote(target, word.partition(":")[2]) if _is_remote(workspace, word) else word for word in words]
    return attach(scp_argv(target, told, shared=multiplexed(shared_socket(workspace, name))))


def named_in(workspace: Workspace, words: Sequence[str]) -> str:
    """The machine that the words of an scp name.

    Raises:
        UsageError: none does, or two machines are named.
    """
    named = {word.partition(":")[0] for word in words if _is_remote(workspace, word)}
    if len(named) != 1:
        raise UsageError(
            "give the name of one machine, as in: pommel scp FILE NAME:PATH"
            if not named
            else f"only one machine can be used in one command: {', '.join(sorted(named))}",
            hint=f"machines: {', '.join(workspace.names())}",
        )
    return named.pop()


def ssh_config(workspace: Workspace, names: Sequence[str] = ()) -> str:
    """Blocks of ssh_config(5) for machines (default: all that are made), so that `ssh NAME` and its kin reach them.

    Raises:
        StateError: a machine that is named has not been made yet, or nobody here knows its guest's address.
    """
    blocks, newer = [], _known_options()
    for name in names or workspace.home.names():
        workspace.made(name)
        try:
            target = _target(workspace, name)
        except StateError as unknown:
            if names:
                raise
            blocks.append(f"# {name}: {unknown.message}\n")  # the others are still of use
            continue
        shared = multiplexed(shared_socket(workspace, name))
        blocks.append(host_block(target, name, shared, newer=newer, clear_forwards=_has_forwards(name)))
    return "\n".join(blocks)


def _known_options() -> list[str]:
    """Which of the newer options this host's ssh has."""
    try:
        return [key for key, value in NEWER.items() if run(understands_argv(key, value), check=False).returncode == 0]
    except MissingProgram:  # the blocks may be for another host
        return []


def _has_forwards(name: str) -> bool:
    """Whether the user's configuration forwards ports for whatever host, and so for one called `name`."""
    try:
        return forwards(run(configuration_argv(SshAddress(name)), check=False, timeout_s=10).text)
    except (MissingProgram, DeadlineError):  # a Match exec of theirs
        return False


def end_shared(workspace: Workspace, name: str) -> None:
    """End the connection that calls to the guest of machine `name` share, if there is one."""
    socket = shared_socket(workspace, name)
    if socket.exists():
        run(end_shared_argv(name, socket), check=False, timeout_s=5)


def ask_to_shut_down(workspace: Workspace, name: str, *, timeout_s: float = 8.0) -> bool:
    """Ask the guest of machine `name` over SSH to power down; say whether it took the order."""
    try:
        ssh_run(name, _SHUT_DOWN, timeout_s=timeout_s, workspace=workspace)
    except PommelError:
        return False
    return True


def _is_remote(workspace: Workspace, word: str) -> bool:
    name, colon, _ = word.partition(":")
    return bool(colon) and not word.startswith("-") and name in workspace.names()


def shared_socket(workspace: Workspace, name: str) -> Path:
    """Where the connection is that calls to the guest of machine `name` share."""
    return workspace.paths(name).runtime / "ssh"


def is_connected(workspace: Workspace, name: str) -> bool:
    """Whether an earlier call's connection to the guest of machine `name` is still there to ride on."""
    with socket.socket(socket.AF_UNIX) as there, contextlib.suppress(OSError):
        there.connect(str(shared_socket(workspace, name)))
        return True
    return False


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
