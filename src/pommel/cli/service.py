"""`pommel service install|uninstall|remove|show|status`. Band: face."""

from __future__ import annotations

import click

from pommel.app.host import service, system_service
from pommel.app.workspace import Workspace
from pommel.cli.common import dry_run_option, json_option, name_argument
from pommel.cli.output import answered, print_json, print_table, reporter, wants_json
from pommel.errors import UsageError

system_option = click.option(
    "--system", is_flag=True, help="Use the systemd of the host, and run as the machine's user."
)
user_option = click.option("--user", help="The user of the machine; with --system.  [default: you]")


@click.group("service")
def service_command() -> None:
    """Start a machine with systemd, when you log in or with the host."""


@service_command.command("install")
@name_argument()
@click.option("--no-enable", is_flag=True, help="Write the unit, but do not start or enable it.")
@system_option
@user_option
@dry_run_option
@json_option
def install_command(name: str, no_enable: bool, system: bool, user: str | None, dry_run: bool) -> None:
    """Write a systemd unit for machine NAME, and start it with your session or, with --system, with the host.

    Only root can write a unit of the host: without root, Pommel prints the command to type. The machine runs as its
    user, after the network and its disks are available; --dry-run prints the unit.
    """
    _only_with_system(system, user)
    if system:
        made = system_service.install(name, user=user, enable=not no_enable, dry_run=dry_run, report=reporter())
    elif dry_run:
        workspace = Workspace.current()
        text = service.text_of(workspace, name)
        made = service.Installed(service.unit_path(workspace, name), text, enabled=False)
    else:
        made = service.install(name, enable=not no_enable, report=reporter())
    told = {"name": name, "unit": str(made.path), "enabled": made.enabled}
    if not answered({**told, "dry_run": True, "text": made.text} if dry_run else told):
        click.echo(made.text if dry_run else made.path, nl=not dry_run)


@service_command.command("uninstall")
@name_argument()
@system_option
@user_option
def uninstall_command(name: str, system: bool, user: str | None) -> None:
    """Remove the unit of machine NAME. The machine itself is not changed."""
    _only_with_system(system, user)
    if system:
        click.echo(f"removed {system_service.remove(name, user=user, report=reporter())}")
    else:
        click.echo(f"removed {service.remove(name, report=reporter())}")


service_command.add_command(uninstall_command, "remove")


@service_command.command("show")
@name_argument()
@system_option
@json_option
def show_command(name: str, system: bool) -> None:
    """Print the unit that `install` would write; with --system and --json, the values that root needs for it."""
    workspace = Workspace.current()
    if system and wants_json():
        print_json(system_service.facts(workspace, name).as_dict())
        return
    text = system_service.install(name, dry_run=True).text if system else service.text_of(workspace, name)
    if not answered({"name": name, "text": text}):
        click.echo(text, nl=False)


@service_command.command("status")
@name_argument()
@json_option
def status_command(name: str) -> None:
    """Show the state of the units of machine NAME: the unit of your session, and the unit of the host."""
    found = system_service.status(Workspace.current(), name)
    if answered({"name": name, "service_units": [each.as_dict() for each in found]}):
        return
    rows = [
        (each.scope, "there" if each.there else "not there", each.enabled, each.active, str(each.path))
        for each in found
    ]
    print_table(("UNIT OF THE", "FILE", "STARTS", "NOW", "WHERE"), rows)


def _only_with_system(system: bool, user: str | None) -> None:
    if user is not None and not system:
        raise UsageError("--user needs --system: a unit of your session belongs to you")
