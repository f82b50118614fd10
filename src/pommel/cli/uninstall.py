"""`pommel uninstall`: remove everything Pommel has made. Band: face."""

from __future__ import annotations

import click

from pommel.app.host import uninstall
from pommel.app.workspace import Workspace
from pommel.cli.common import dry_run_option, yes_option
from pommel.cli.output import ask, interactive, reporter
from pommel.errors import UsageError
from pommel.settings import format_size


@click.command("uninstall")
@yes_option
@dry_run_option
def uninstall_command(yes: bool, dry_run: bool) -> None:
    """Stop all machines and remove everything that Pommel has created: machines, images, caches.

    It does not remove your pommel.toml, packages of the system, or the folder of ./pommel.
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
            raise UsageError("removing everything needs confirmation: pass --yes", hint="pommel uninstall --yes")
        if not ask("Remove all of this, including all machines and their disks?"):
            return
    uninstall.uninstall(workspace, report=reporter())
    click.echo("removed. Installed packages stay, and Pommel itself: the folder of ./pommel, or its package")
