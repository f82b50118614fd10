"""`pommel ssh NAME [-- COMMAND]`. Band: face."""

from __future__ import annotations

import click

from pommel.app import guest
from pommel.app.workspace import Workspace
from pommel.cli.common import name_argument


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
