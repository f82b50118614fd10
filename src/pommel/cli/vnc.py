"""`pommel vnc NAME` and `pommel view NAME`. Band: face."""

from __future__ import annotations

import asyncio

import click

from pommel.app.machine import vnc
from pommel.app.workspace import Workspace
from pommel.cli.common import display_option, json_option, name_argument
from pommel.cli.output import answered, print_pairs
from pommel.cli.running import until_signal
from pommel.errors import UsageError

view_only_option = click.option("--view-only", is_flag=True, help="Viewers see the screen but have no control.")


@click.command("vnc")
@name_argument()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port on 127.0.0.1.  [default: the first free port from 5900]"
)
@click.option(
    "--socket", "by_socket", is_flag=True, help="Use a Unix socket that only you can open, without a password."
)
@view_only_option
@display_option
@json_option
def vnc_command(name: str, port: int | None, by_socket: bool, view_only: bool, display: int) -> None:
    """Open the screen of the running machine NAME to ordinary VNC viewers, with a password. Ctrl-C ends this; the
    machine keeps running.

    Viewers share the screen with its page and with each other. The port is open only on this host. From another
    computer, use SSH (ssh -L 5900:127.0.0.1:5900 HOST).
    """
    if port and by_socket:
        raise UsageError("--port and --socket cannot be used together")

    def opened(offered: vnc.VncAddress) -> None:
        if answered(offered.as_dict()):
            return
        click.echo(f"the screen of {name} for {'view-only ' if view_only else ''}VNC viewers, until Ctrl-C:")
        if offered.socket:
            print_pairs({"  socket": offered.socket, "  such as": f"vncviewer {offered.socket}"})
        else:
            where = {"  address": f"{offered.host}:{offered.port}", "  password": offered.password or ""}
            print_pairs({**where, "  such as": f"vncviewer {offered.host}::{offered.port}"})

    serving = vnc.serve(
        name, opened=opened, port=port, by_socket=by_socket, view_only=view_only, display=display, told=_print
    )
    if reason := asyncio.run(until_signal(serving)):
        click.echo(reason, err=True)


@click.command("view")
@name_argument()
@click.option(
    "--with", "viewer", type=click.Choice(vnc.VIEWERS), help="Which viewer.  [default: the first that is installed]"
)
@view_only_option
@display_option
def view_command(name: str, viewer: str | None, view_only: bool, display: int) -> None:
    """Open the screen of the running machine NAME in a VNC viewer of this desktop: virt-viewer, TigerVNC or
    Remmina."""
    workspace = Workspace.current()
    found = vnc.choose_viewer(viewer, workspace)

    def opened(offered: vnc.VncAddress) -> None:
        asked = f"; its password is {offered.password}" if found == "remmina" else ""
        click.echo(f"{name} in {found}{asked}", err=True)

    viewing = vnc.view(
        name, found, view_only=view_only, display=display, opened=opened, told=_print, workspace=workspace
    )
    if reason := asyncio.run(until_signal(viewing)):
        click.echo(reason, err=True)


def _print(text: str) -> None:
    click.echo(text, err=True)
