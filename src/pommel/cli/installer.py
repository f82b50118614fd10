"""`pommel installer list|fetch|delete`. Band: face."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from pommel.app.upstream import installers
from pommel.cli.common import complete_version, confirm, connections_option, dry_run_option, json_option, yes_option
from pommel.cli.output import answer, answered, print_table, reporter
from pommel.settings import format_size


def _complete_here(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    builds = [each.build for each in installers.listed(here_only=True)]
    return [CompletionItem(build) for build in builds if build.startswith(incomplete)]


@click.group("installer")
def installer_command() -> None:
    """Manage Apple's full installers, which install macOS without a download."""


@installer_command.command("list")
@click.option("--here", is_flag=True, help="Only those that are on this host. Apple is not asked.")
@json_option
def list_command(here: bool) -> None:
    """List the full installers that Apple offers, macOS 11 and later, and which of them are here."""
    found = installers.listed(here_only=here, report=reporter())
    if answered({"installers": [each.as_dict() for each in found]}):
        return
    rows = [
        (each.name, each.version, each.build, format_size(each.size_bytes), "yes" if each.disk_path else "-")
        for each in found
    ]
    print_table(("NAME", "VERSION", "BUILD", "SIZE", "HERE"), rows)


@installer_command.command("fetch")
@click.argument("which", shell_complete=complete_version)
@click.option("--model", metavar="MODEL", help="Only an installer for this Mac, such as iMac19,1.")
@connections_option
@click.option("--force", is_flag=True, help="Ask Apple even if there is one here: there may be a newer one.")
@dry_run_option
@json_option
def fetch_command(which: str, model: str | None, connections: int, force: bool, dry_run: bool) -> None:
    """Download the newest full installer of macOS WHICH (a name, a version or a build), 12 to 18 GB.

    It resumes an interrupted download. It is checked for damage by Apple's list of its chunks. That list has no
    signature; the installer comes from Apple's servers by HTTPS, and Apple's own installer checks its signature.
    """
    found = installers.fetch(
        which, model=model, connections=connections, force=force, dry_run=dry_run, report=reporter()
    )
    if answered(found.as_dict()):
        return
    if found.disk_path:
        click.echo(found.disk_path)
        click.echo(f"macOS {found.version} ({found.build}), {format_size(found.size_bytes)}", err=True)
    else:
        size = format_size(found.size_bytes)
        click.echo(f"would download macOS {found.version} ({found.build}), {size}, product {found.product}")


@installer_command.command("delete")
@click.argument("which", shell_complete=_complete_here)
@yes_option
@dry_run_option
@json_option
def delete_command(which: str, yes: bool, dry_run: bool) -> None:
    """Delete an installer from this host: WHICH is a name, a version, a build or a product id."""
    found = installers.delete(which, dry_run=True)
    what = f"macOS {found.version} ({found.build}), {format_size(found.size_bytes)}"
    if not dry_run:
        confirm(f"delete the installer of {what}?", yes=yes, typed=f"pommel installer delete {which} --yes")
        installers.delete(found.product)
    answer(found.as_dict(), f"{'would delete' if dry_run else 'deleted'} the installer of {what}")
