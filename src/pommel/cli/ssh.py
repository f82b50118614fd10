"""`pommel ssh|scp|ssh-config`. Band: face."""

from __future__ import annotations

from pathlib import Path

import click

from pommel import account
from pommel.app.guest import shell as guest
from pommel.app.workspace import Workspace
from pommel.cli.common import complete_name, complete_remote, name_argument
from pommel.cli.output import print_error
from pommel.cli.waiting import await_guest, no_wait_options
from pommel.errors import DeadlineError, MachineError, UsageError

_KEY = click.Path(path_type=Path)
_UNREACHABLE = 255  # ssh(1)


@click.command("ssh", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--copy-id", is_flag=True, help="Install the machine's key in the guest, so that SSH asks for no password again."
)
@click.option("-i", "public", type=_KEY, metavar="KEY.pub", help="With --copy-id: also install this key of yours.")
@no_wait_options
@name_argument()
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh_command(
    name: str,
    command: tuple[str, ...],
    copy_id: bool,
    public: Path | None,
    no_wait: bool,
    wait_timeout: float | None,
) -> int:
    """Open a shell in machine NAME, or run a command: pommel ssh NAME -- uname -a

    Port, user, key and host keys are the machine's own; your ssh configuration and known_hosts are not changed. Put
    options before NAME. Waits for a guest that is starting. Exits with the command's exit status, or with 255 if
    the guest cannot be reached.
    """
    if command[:1] == ("--no-wait",):  # after NAME, where all other words are the guest's
        no_wait, command = True, command[1:]
    if command[:1] == ("--copy-id",) and not copy_id:  # after NAME, where all other words are the guest's
        copy_id, public, command = True, *_after_name(command[1:], public)
    if public is not None and not copy_id:
        raise UsageError("-i goes with --copy-id", hint=f"pommel ssh {name} --copy-id -i {public}")
    workspace = Workspace.current()
    if not _answers(workspace, name, no_wait, wait_timeout):
        return _UNREACHABLE
    if copy_id:
        return _copy_id(name, public, command)
    words = command[1:] if command[:1] == ("--",) else command  # click passes the separator on
    return guest.ssh(workspace, name, words)


def _answers(workspace: Workspace, name: str, no_wait: bool, timeout_s: float | None) -> bool:
    """Wait for the guest; if it cannot be reached, print the error, and return False for ssh's exit status."""
    try:
        await_guest(workspace, name, no_wait=no_wait, timeout_s=timeout_s)
    except (DeadlineError, MachineError) as unreachable:
        print_error(unreachable)
        return False
    return True


def _after_name(words: tuple[str, ...], public: Path | None) -> tuple[Path | None, tuple[str, ...]]:
    return (Path(words[1]), words[2:]) if words[:1] == ("-i",) and len(words) > 1 else (public, words)


def _copy_id(name: str, public: Path | None, rest: tuple[str, ...]) -> int:
    from pommel.app.guest.copy_id import copy_id

    if rest:
        raise UsageError(f"--copy-id takes no command: {' '.join(rest)}", hint=f"pommel ssh {name} --copy-id")
    for copied in copy_id(Workspace.current(), name, account.expand(public) if public else None):
        click.echo(f"{name} {'accepts' if copied.new else 'already accepts'} {copied.path}")
    return 0


@click.command("scp", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@no_wait_options
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, shell_complete=complete_remote)
def scp_command(words: tuple[str, ...], no_wait: bool, wait_timeout: float | None) -> int:
    """Copy files to or from a machine, as scp does: pommel scp -r FOLDER NAME:PATH

    NAME:PATH is a file of machine NAME; all other arguments, including scp's own flags, are passed to scp. Waits
    for a guest that is starting.
    """
    workspace, words = Workspace.current(), words[1:] if words[:1] == ("--",) else words
    if not _answers(workspace, guest.named_in(workspace, words), no_wait, wait_timeout):
        return _UNREACHABLE
    return guest.scp(workspace, words)


@click.command("ssh-config")
@click.argument("names", nargs=-1, shell_complete=complete_name)
def ssh_config_command(names: tuple[str, ...]) -> None:
    """Print blocks for ~/.ssh/config, so that `ssh NAME`, scp, rsync, editors and Ansible can connect to machines.

    \b
    pommel ssh-config > ~/.ssh/pommel.config
    then, as the first line of ~/.ssh/config:  Include pommel.config
    """
    click.echo(guest.ssh_config(Workspace.current(), names), nl=False)
