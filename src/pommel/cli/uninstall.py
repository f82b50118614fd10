"""`pommel uninstall`: remove everything Pommel has made. Band: face."""

from __future__ import annotations

import click

from pommel.app import uninstall
from pommel.app.workspace import Workspace
from pommel.cli.common import dry_run_option, yes_option
from pommel.cli.output import ask, interactive, reporter
from pommel.errors import UsageError
from pommel.settings import format_size


@click.command("uninstall")
@yes_option
@dry_run_option
def uninstall_command(yes: bool, dry_run: bool) -> None:
    """Stop all machines and remove everything Pommel has made: machines, images, caches.

    What it does not touch: your pommel.toml, the packages of the system, and the folder that ./pommel lies in.
    """
    workspace = Workspace.current()
    doomed = uninstall.plan(workspace)
    for path, size in doomed:
        click.echo(f"{format_size(size):>10}  {path}", err=not dry_run)
    if not doomed:
        click.echo("there is nothing to remove", err=True)
    if dry_run or not doomed:
        return
    if not yes:
        if not interactive():
            raise UsageError("removing everything needs a yes", hint="pommel uninstall --yes")
        if not ask("Remove all of this, machines and their disks included?"):
            return
    uninstall.uninstall(workspace, report=reporter())
    click.echo("removed. The packages that were installed stay, and Pommel itself: ./pommel's folder, or its package")
