"""`pommel ssh|scp|ssh-config`. Band: face."""

from __future__ import annotations

import click

from pommel.app import guest
from pommel.app.workspace import Workspace
from pommel.cli.common import complete_name, complete_remote, name_argument


@click.command("ssh", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@name_argument()
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh_command(name: str, command: tuple[str, ...]) -> int:
    """Open a shell in machine NAME, or run a command: pommel ssh NAME -- uname -a

    Port, user, key and host keys are the machine's own; your ssh configuration and known_hosts are not touched.
    Exits as the command does, or 255 when the guest cannot be reached.
    """
    words = command[1:] if command[:1] == ("--",) else command  # click hands the separator on
    return guest.ssh(Workspace.current(), name, words)


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
