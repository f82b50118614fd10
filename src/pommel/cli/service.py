"""`pommel service install|remove|show`. Band: face."""

from __future__ import annotations

import click

from pommel.app import service
from pommel.app.workspace import Workspace
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import print_json, reporter


@click.group("service")
def service_command() -> None:
    """A machine that starts when you log in, kept by systemd."""


@service_command.command("install")
@name_argument()
@click.option("--no-enable", is_flag=True, help="Only write the unit.")
@json_option
def install_command(name: str, no_enable: bool, as_json: bool) -> None:
    """Write a systemd user unit for machine NAME, and have it start with your session."""
    made = service.install(name, enable=not no_enable, report=reporter())
    if as_json:
        print_json({"name": name, "unit": str(made.path), "enabled": made.enabled})
    else:
        click.echo(made.path)


@service_command.command("remove")
@name_argument()
def remove_command(name: str) -> None:
    """Take the unit of machine NAME away. The machine itself stays as it is."""
    click.echo(f"removed {service.remove(name, report=reporter())}")


@service_command.command("show")
@name_argument()
def show_command(name: str) -> None:
    """Print the unit that `install` would write."""
    click.echo(service.text_of(Workspace.current(), name), nl=False)
