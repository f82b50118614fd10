"""`pommel ssh|scp|ssh-config`. Band: face."""

from __future__ import annotations

from pathlib import Path

import click

from pommel.app import guest
from pommel.app.workspace import Workspace
from pommel.cli.common import complete_name, complete_remote, name_argument
from pommel.errors import UsageError

_KEY = click.Path(path_type=Path)


@click.command("ssh", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--copy-id", is_flag=True, help="Let the machine's key in there, so that no password is asked for again.")
@click.option("-i", "public", type=_KEY, metavar="KEY.pub", help="With --copy-id: let this key of yours in, too.")
@name_argument()
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh_command(name: str, command: tuple[str, ...], copy_id: bool, public: Path | None) -> int:
    """Open a shell in machine NAME, or run a command: pommel ssh NAME -- uname -a

    Port, user, key and host keys are the machine's own; your ssh configuration and known_hosts are not touched.
    Exits as the command does, or 255 when the guest cannot be reached.
    """
    if command[:1] == ("--copy-id",) and not copy_id:  # said after NAME, where all else is the guest's
        copy_id, public, command = True, *_after_name(command[1:], public)
    if copy_id:
        return _copy_id(name, public, command)
    if public is not None:
        raise UsageError("-i goes with --copy-id", hint=f"pommel ssh {name} --copy-id -i {public}")
    words = command[1:] if command[:1] == ("--",) else command  # click hands the separator on
    return guest.ssh(Workspace.current(), name, words)


def _after_name(words: tuple[str, ...], public: Path | None) -> tuple[Path | None, tuple[str, ...]]:
    return (Path(words[1]), words[2:]) if words[:1] == ("-i",) and len(words) > 1 else (public, words)


def _copy_id(name: str, public: Path | None, rest: tuple[str, ...]) -> int:
    from pommel.app.copy_id import copy_id

    if rest:
        raise UsageError(f"--copy-id takes no command: {' '.join(rest)}", hint=f"pommel ssh {name} --copy-id")
    for copied in copy_id(Workspace.current(), name, public.expanduser() if public else None):
        click.echo(f"{name} {'lets in' if copied.new else 'lets in already'} {copied.path}")
    return 0


@click.command("scp", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, shell_complete=complete_remote)
def scp_command(words: tuple[str, ...]) -> int:
    """Copy files to or from a machine, as scp does: pommel scp -r FOLDER NAME:PATH

    NAME:PATH is a file of machine NAME; the rest, scp's own flags too, goes to scp as it is.
    """
    return guest.scp(Workspace.current(), words[1:] if words[:1] == ("--",) else words)


@click.command("ssh-config")
@click.argument("names", nargs=-1, shell_complete=complete_name)
def ssh_config_command(names: tuple[str, ...]) -> None:
    """Print blocks for ~/.ssh/config, so that `ssh NAME`, scp, rsync, editors and Ansible reach machines.

    \b
    pommel ssh-config > ~/.ssh/pommel.config
    then, as the first line of ~/.ssh/config:  Include pommel.config
    """
    click.echo(guest.ssh_config(Workspace.current(), names), nl=False)
