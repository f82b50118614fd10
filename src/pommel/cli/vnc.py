"""`pommel vnc NAME` and `pommel view NAME`. Band: face."""

from __future__ import annotations

import asyncio

import click

from pommel.app import vnc
from pommel.app.workspace import Workspace
from pommel.cli.common import display_option, json_option, name_argument
from pommel.cli.output import print_json, print_pairs
from pommel.cli.running import until_signal
from pommel.errors import UsageError

view_only_option = click.option("--view-only", is_flag=True, help="Viewers see the screen and can do nothing else.")


@click.command("vnc")
@name_argument()
@click.option("--port", type=click.IntRange(1, 65535), help="Port on 127.0.0.1; else the first free one from 5900 up.")
@click.option("--socket", "by_socket", is_flag=True, help="A Unix socket for you alone, without a password.")
@view_only_option
@display_option
@json_option
def vnc_command(name: str, port: int | None, by_socket: bool, view_only: bool, display: int, as_json: bool) -> None:
    """Let ordinary VNC viewers in to the running machine NAME, with a password; Ctrl-C ends it, the machine goes on.

    They share the screen with its page and with each other. The port is open to this host alone: from another
    computer, go through SSH (ssh -L 5900:127.0.0.1:5900 HOST).
    """
    if port and by_socket:
        raise UsageError("--port and --socket are two ways: one of them")

    def opened(offered: vnc.Offered) -> None:
        if as_json:
            print_json(offered.as_dict())
            return
        click.echo(f"the screen of {name} for VNC viewers{' that only look' if view_only else ''}, until Ctrl-C:")
        if offered.socket:
            print_pairs({"  socket": offered.socket, "  such as": f"vncviewer {offered.socket}"})
        else:
            where = {"  address": f"{offered.host}:{offered.port}", "  password": offered.password or ""}
            print_pairs({**where, "  such as": f"vncviewer {offered.host}::{offered.port}"})

    serving = vnc.serve(
        name, opened=opened, port=port, by_socket=by_socket, view_only=view_only, display=display, told=_tell
    )
    if reason := asyncio.run(until_signal(serving)):
        click.echo(reason, err=True)


@click.command("view")
@name_argument()
@click.option("--with", "viewer", type=click.Choice(vnc.VIEWERS), help="Which; else the first that is installed.")
@view_only_option
@display_option
def view_command(name: str, viewer: str | None, view_only: bool, display: int) -> None:
    """Open the desktop's own VNC viewer on the running machine NAME: virt-viewer, TigerVNC or Remmina."""
    workspace = Workspace.current()
    found = vnc.choose_viewer(viewer, workspace)

    def opened(offered: vnc.Offered) -> None:
        asked = f"; the password that it asks for is {offered.password}" if found == "remmina" else ""
        click.echo(f"{name} in {found}{asked}", err=True)

    viewing = vnc.view(
        name, found, view_only=view_only, display=display, opened=opened, told=_tell, workspace=workspace
    )
    if reason := asyncio.run(until_signal(viewing)):
        click.echo(reason, err=True)


def _tell(text: str) -> None:
    click.echo(text, err=True)
