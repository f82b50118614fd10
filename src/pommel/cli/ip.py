"""`pommel ip NAME`: where a machine's guest answers SSH. Band: face."""

from __future__ import annotations

from dataclasses import asdict

import click

from pommel.app.network import reach
from pommel.app.workspace import Workspace
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import answered


@click.command("ip")
@name_argument()
@json_option
def ip_command(name: str) -> None:
    """Print the address at which the guest of machine NAME answers SSH.

    With user-mode networking, this is 127.0.0.1 and a port of this host. With a bridge or a tap device, it is the
    guest's own address. Pommel finds it by the MAC address of the network card, in the host's neighbour table and
    in the leases of its DHCP servers.
    """
    found = reach.address(Workspace.current(), name)
    if answered({"name": name, **asdict(found)}):
        return
    click.echo(found.host if found.port == 22 else f"{found.host}:{found.port}")
    click.echo(found.how, err=True)
