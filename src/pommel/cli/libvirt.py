"""`pommel libvirt export NAME`. Band: face."""

from __future__ import annotations

import click

from pommel.app.argv.libvirt_export import libvirt_domain
from pommel.app.workspace import Workspace
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import answered, print_wide_table


@click.group("libvirt")
def libvirt_command() -> None:
    """Export a machine to libvirt, for virt-manager and virsh."""


@libvirt_command.command("export")
@name_argument()
@click.option("--explain", is_flag=True, help="Print a table: argument, what it becomes, reason.")
@json_option
def export_command(name: str, explain: bool) -> None:
    """Print machine NAME as a libvirt domain.

    \b
    pommel libvirt export sonoma > sonoma.xml
    virsh -c qemu:///session define sonoma.xml

    Every argument of QEMU becomes an element, or stays as it is in qemu:commandline; --explain shows which, and why.
    Each device keeps its PCI slot. The domain uses the machine's own files: stop the machine before you start the
    domain. Nothing is started and nothing on disk changes.
    """
    exported = libvirt_domain(Workspace.current(), name)
    if answered(exported.as_dict()):
        return
    if explain:
        print_wide_table(("ARGUMENT", "BECOMES", "REASON"), exported.explained())
    else:
        click.echo(exported.domain.xml, nl=False)
    for line in exported.warnings:
        click.echo(f"warning: {line}", err=True)
