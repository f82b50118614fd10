"""`pommel console NAME`. Band: face."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from pommel.app.console import page as console
from pommel.app.machine import machines
from pommel.app.workspace import Workspace
from pommel.cli.common import json_option, name_argument, tell_fingerprint, tls_options
from pommel.cli.live import Live
from pommel.cli.output import answer, answered, print_json, print_table, wants_json
from pommel.cli.running import open_browser, until_signal
from pommel.errors import StateError, UsageError


@click.command("console")
@name_argument()
@click.option(
    "-d", "--detach", is_flag=True, help="Run it in the background and return; the default if there is no terminal."
)
@click.option("--stop", is_flag=True, help="End the machine's console; the machine keeps running.")
@click.option("--who", is_flag=True, help="List the viewers: program, address, and since when.")
@click.option(
    "--new-token", is_flag=True, help="Create a new link; the old links stop working, and all viewers are disconnected."
)
@click.option("--view-only", is_flag=True, help="Print the view-only link: it shows the screen and accepts no input.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the page; if it is in use, the next free port.")
@click.option(
    "--host", help="Address to listen on instead of 127.0.0.1. Anyone who has the token can control the machine."
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="A host name by which browsers reach the page, such as the name of a proxy.",
)
@tls_options
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@click.option("--session", is_flag=True, help="Show the guest's login session instead; see: pommel guest install")
@click.option("--serve", is_flag=True, hidden=True)
@json_option
def console_command(
    name: str, *, detach: bool, no_open: bool, session: bool, serve: bool, view_only: bool, **more: Any
) -> None:
    """Serve the screen, keyboard and mouse of the running machine NAME on a local page.

    Prints the page's address with its access token. Ctrl-C ends the console; the machine keeps running.
    """
    workspace = Workspace.current()
    listen = {key: more.pop(key) for key in ("port", "host", "allow_host", "tls")}
    others = view_only or any(listen[key] for key in ("port", "host", "allow_host")) or listen["tls"].says_something
    if (instead := _instead(more, others)) is not None:
        _INSTEAD[instead](workspace, name, session)
    elif serve:
        serve_here(workspace, name, **listen, session=session, quiet=True)
    elif detach or not sys.stdout.isatty():
        found = console.open_detached(workspace, name, **listen, session=session)
        show(workspace, found, browse=False, view_only=view_only)
    elif console.find_of(workspace, name, session=session) is not None:
        found_now = console.open_detached(workspace, name, **listen, session=session)  # refuses one with other options
        show(workspace, found_now, browse=not no_open, view_only=view_only)
        click.echo(f"served by process {found_now.pid}; end it with: pommel console {name} --stop", err=True)
    else:
        where = {**listen, "session": session}
        serve_here(workspace, name, **where, browse=not no_open, view_only=view_only)


def _instead(flags: Mapping[str, bool], others: bool) -> str | None:
    """The flag for another action than opening the console, if there is one."""
    given = [f"--{flag.replace('_', '-')}" for flag in _INSTEAD if flags[flag]]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} cannot be used together", hint="run them one after the other")
    if given and others:
        none = "it cannot be used with --view-only, --port, --host, --allow-host or --tls"
        raise UsageError(f"{given[0]} opens no console: {none}")
    return given[0][2:].replace("-", "_") if given else None


def _stop(workspace: Workspace, name: str, session: bool) -> None:
    ended = console.stop(workspace, name, only_session=session)
    answer({"name": name, "stopped": ended}, f"{name}: console ended" if ended else f"{name}: no console was running")


def _who(workspace: Workspace, name: str, session: bool) -> None:
    found = console.viewers(workspace, name, session=session)
    if answered({"name": name, "looking": [dataclasses.asdict(one) for one in found]}):
        return
    if not found:
        click.echo(f"{name}: no viewers")
    else:
        rows = [
            (str(one.id), one.name, one.address, _when(one.since_s), "looks" if one.view_only else "acts")
            for one in found
        ]
        print_table(("#", "viewer", "from", "since", "may"), rows)


def _new_token(workspace: Workspace, name: str, session: bool) -> None:
    found = console.renew(workspace, name, only_session=session)
    if found is not None:
        show(workspace, found, browse=False)
    else:
        answer(
            {"name": name, "url": None, "ws": None},
            f"{name}: the old links no longer work. To get the new link: pommel console {name}",
        )


_INSTEAD = {"stop": _stop, "who": _who, "new_token": _new_token}


def _when(since_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_s))


def show(workspace: Workspace, found: console.Console, *, browse: bool, view_only: bool = False, **more: Any) -> None:
    """Print the address of a console, or its view-only address; as JSON, the object of `status` with this address.

    Raises:
        StateError: there is no view-only address, because the console is from an earlier version.
    """
    url, ws = (found.look_url, found.look_ws) if view_only else (found.url, found.ws)
    if not url:
        again = f"pommel console {found.name} --stop; pommel console {found.name} --view-only"
        raise StateError(
            "the console was opened by an earlier version of Pommel, and has no view-only link", hint=again
        )
    if wants_json():
        seen = machines.status(found.name, workspace=workspace, ask=False)  # a loop may be running here
        more |= {"view_only": True} if view_only else {}
        here = {"url": url, "ws": ws, "tls_fingerprint": found.fingerprint, "console_pid": found.pid}
        print_json({**seen.as_dict(), **here, **more})
    else:
        click.echo(f"{found.name}: {url}")
        tell_fingerprint(found.fingerprint)
    if browse:
        open_browser(url)


def serve_here(
    workspace: Workspace,
    name: str,
    *,
    browse: bool = False,
    quiet: bool = False,
    view_only: bool = False,
    more: Mapping[str, Any] | None = None,
    **where: Any,
) -> None:
    """Serve in the foreground with a live status line until the machine stops or Ctrl-C. `where`: see `serve`."""

    def ready(found: console.Console) -> None:
        if not quiet:
            show(workspace, found, browse=browse, view_only=view_only, **(more or {}))
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
            f"{name} is still running.  Its screen: pommel console {name}  Shut it down: pommel stop {name}",
            err=True,
        )
