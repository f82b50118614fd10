"""Shells, commands and file copies in a guest, over SSH. Band: app."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pommel.app.network import reach
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import CommandFailed, DeadlineError, MissingProgram, PommelError, StateError, UsageError
from pommel.machine import record, state
from pommel.machine.spec import MachineSpec
from pommel.paths import MachinePaths
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

# Both ways need no password: sudo if it is allowed, or else System Events in the user's desktop session.
_SHUT_DOWN = (
    "sudo -n /sbin/shutdown -h now 2>/dev/null || "
    "osascript -e 'tell application \"System Events\" to shut down' 2>/dev/null"
)


def ssh_target(workspace: Workspace, name: str) -> SshTarget:
    """The SSH address and user of the running machine `name`.

    Raises:
        StateError: the machine is not running, or its guest's address is unknown.
    """
    workspace.settings(name)
    if not state.observe(workspace.paths(name)).alive:
        raise StateError(f"{name} is not running", hint=f"pommel start {name}")
    return _target(workspace, name)


def known_target(workspace: Workspace, name: str) -> SshTarget:
    """The SSH address and user of machine `name`, which may not run now.

    Raises:
        StateError: it has not been made yet, or its guest's address is unknown.
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
        introduced=_is_introduced(spec, paths),
    )


def _is_introduced(spec: MachineSpec, paths: MachinePaths) -> bool:
    """Whether the guest's host key is known before the first connection.

    Pommel makes the key of a trial machine that is made from a base. An installed system makes its own key, also in a
    trial machine without a base.
    """
    return spec.upstream == TRIAL and record.load(paths.record).base is not None


def ssh(workspace: Workspace, name: str, command: Sequence[str] = ()) -> int:
    """Open a shell in machine `name` on this terminal, or run `command` there; return its exit status.

    The words of `command` are joined by spaces and given to the guest's shell, as ssh(1) does.
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
    """The machine in the arguments of an scp.

    Raises:
        UsageError: no machine is named, or two are.
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
    """Blocks of ssh_config(5) for machines (default: all that exist), so that `ssh NAME`, scp, rsync and so on work.

    Raises:
        StateError: a machine in `names` has not been made yet, or its guest's address is unknown.
    """
    blocks, newer = [], _known_options()
    for name in names or workspace.home.names():
        workspace.made(name)
        try:
            target = _target(workspace, name)
        except StateError as unknown:
            if names:
                raise
            blocks.append(f"# {name}: {unknown.message}\n")  # one unknown address must not hide the other machines
            continue
        shared = multiplexed(shared_socket(workspace, name))
        blocks.append(host_block(target, name, shared, newer=newer, clear_forwards=_has_forwards(name)))
    return "\n".join(blocks)


def _known_options() -> list[str]:
    """The newer ssh options (NEWER) that this host's ssh understands."""
    try:
        return [key for key, value in NEWER.items() if run(understands_argv(key, value), check=False).returncode == 0]
    except MissingProgram:  # the blocks may be for another host
        return []


def _has_forwards(name: str) -> bool:
    """Whether the user's ssh configuration forwards ports for all hosts, and so for a host `name`."""
    try:
        return forwards(run(configuration_argv(SshAddress(name)), check=False, timeout_s=10).text)
    except (MissingProgram, DeadlineError):  # a `Match exec` in the user's configuration may run for long
        return False


def end_shared(workspace: Workspace, name: str) -> None:
    """End the connection that calls to the guest of machine `name` share, if there is one."""
    socket = shared_socket(workspace, name)
    if socket.exists():
        run(end_shared_argv(name, socket), check=False, timeout_s=5)


def ask_to_shut_down(workspace: Workspace, name: str, *, timeout_s: float = 8.0) -> bool:
    """Ask the guest of machine `name` over SSH to shut down; return whether the command succeeded."""
    try:
        ssh_run(name, _SHUT_DOWN, timeout_s=timeout_s, workspace=workspace)
    except PommelError:
        return False
    return True


def _is_remote(workspace: Workspace, word: str) -> bool:
    name, colon, _ = word.partition(":")
    return bool(colon) and not word.startswith("-") and name in workspace.names()


def shared_socket(workspace: Workspace, name: str) -> Path:
    """The control socket of the ssh connection that all calls to machine `name` share (ControlPath)."""
    return workspace.paths(name).runtime / "ssh"


def is_connected(workspace: Workspace, name: str) -> bool:
    """Whether the shared connection of an earlier call to machine `name` is still open."""
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
    """Run `command` in the shell of machine `name`; return its stdout.

    Raises:
        StateError: the machine is not running.
        CommandFailed: it failed, or SSH could not connect (exit status 255).
        DeadlineError: it took longer than `timeout_s`.
    """
    target = ssh_target(workspace or Workspace.current(), name)
    return run(ssh_argv(target, [command], batch=True), input=input, timeout_s=timeout_s).stdout


def ssh_answers(workspace: Workspace, name: str, *, timeout_s: float = 3.0) -> bool:
    """Whether a login in the guest of machine `name` works now."""
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
