"""`pommel argv NAME`: the command line that QEMU would get, and why. Band: face."""

from __future__ import annotations

from typing import Any

import click

from pommel.app.argv import command_shown, commandline
from pommel.app.workspace import Workspace
from pommel.cli.boot import boot_choice, boot_options
from pommel.cli.common import json_option, machine_options, name_argument, split_flags
from pommel.cli.output import answered, print_wide_table


@click.command("argv")
@name_argument()
@click.option("--explain", is_flag=True, help="Print a table: argument, origin (upstream script or rule), reason.")
@boot_options
@machine_options
@json_option
def argv_command(name: str, explain: bool, **options: Any) -> None:
    """Print the QEMU command line of machine NAME: the upstream's own, changed by Pommel's rules.

    Nothing is started and nothing on disk changes.
    """
    choice, _ = boot_choice(options)
    planned = commandline.command_line(Workspace.current(), name, split_flags(options), choice=choice)
    if answered(command_shown.as_dict(planned)):
        return
    if explain:
        print_wide_table(("ARGUMENT", "ORIGIN", "REASON"), command_shown.explained(planned))
        if planned.qemu is not None:
            click.echo(f"QEMU is {planned.qemu.path}: {planned.qemu.reason}", err=True)
        for line in planned.captured.notes:
            click.echo(f"note: {line}", err=True)
    else:
        click.echo(command_shown.as_shell(planned))
    for line in planned.warnings:
        click.echo(f"warning: {line}", err=True)
