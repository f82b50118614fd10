"""`pommel console NAME`. Band: face."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import click

from pommel.app import console
from pommel.app.workspace import Workspace
from pommel.cli.common import json_option, name_argument
from pommel.cli.live import Live
from pommel.cli.output import print_json
from pommel.cli.running import open_browser, until_signal


@click.command("console")
@name_argument()
@click.option("-d", "--detach", is_flag=True, help="Leave it running and return; the default off a terminal.")
@click.option("--stop", is_flag=True, help="End the machine's console; the machine goes on.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the page; the next free one if it is busy.")
@click.option("--host", help="Address to listen on instead of 127.0.0.1. Whoever has the token gets the machine.")
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@click.option("--session", is_flag=True, help="Show the guest's own login session; see: pommel guest install")
@click.option("--serve", is_flag=True, hidden=True)
@json_option
def console_command(
    name: str, detach: bool, stop: bool, no_open: bool, session: bool, serve: bool, as_json: bool, **listen: Any
) -> None:
    """Serve the screen, keyboard and mouse of the running machine NAME on a local page.

    Prints the page's address with its access token. Ctrl-C ends the console; the machine goes on.
    """
    workspace = Workspace.current()
    if stop:
        ended = console.stop(workspace, name, only_session=session)
        if as_json:
            print_json({"name": name, "stopped": ended})
        else:
            click.echo(f"{name}: console ended" if ended else f"{name}: no console was running")
    elif serve:
        serve_here(workspace, name, **listen, session=session, as_json=False, quiet=True)
    elif detach or not sys.stdout.isatty():
        show(console.open_detached(workspace, name, **listen, session=session), as_json=as_json, browse=False)
    elif (found := console.find_of(workspace, name, session=session)) is not None:
        show(found, as_json=as_json, browse=not no_open)
        click.echo(f"served by process {found.pid}; end it with: pommel console {name} --stop", err=True)
    else:
        serve_here(workspace, name, **listen, session=session, as_json=as_json, browse=not no_open)


def show(found: console.Console, *, as_json: bool, browse: bool, **more: Any) -> None:
    """Print where a console serves."""
    if as_json:
        print_json({"name": found.name, "state": "running", **more, "url": found.url, "ws": found.ws, "pid": found.pid})
    else:
        click.echo(f"{found.name}: {found.url}")
    if browse:
        open_browser(found.url)


def serve_here(
    workspace: Workspace,
    name: str,
    *,
    as_json: bool,
    browse: bool = False,
    quiet: bool = False,
    more: Mapping[str, Any] | None = None,
    **where: Any,
) -> None:
    """Serve in the foreground with a live status line until the machine stops or Ctrl-C; `where` as console.serve's."""

    def ready(found: console.Console) -> None:
        if not quiet:
            show(found, as_json=as_json, browse=browse, **(more or {}))
            live.begin()

    live = Live(workspace, name)
    serving = console.serve(workspace, name, **where, on_ready=ready)
    try:
        reason = asyncio.run(until_signal(serving))
    finally:
        live.end()
    if reason:
        click.echo(f"{reason}; the console has ended", err=True)
    elif not quiet:
        click.echo(
            f"{name} is still running.  Its screen: pommel console {name}  Power it down: pommel stop {name}",
            err=True,
        )
