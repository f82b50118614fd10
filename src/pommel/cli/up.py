"""`pommel up NAME`. Band: face."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pommel import locks
from pommel.app import console, machines, up
from pommel.app.console_tls import TlsWish, check_for
from pommel.app.workspace import Workspace
from pommel.cli.common import (
    clipboard_option,
    consent_to,
    dry_run_option,
    json_option,
    machine_options,
    name_argument,
    offline_option,
    split_flags,
    tls_options,
    yes_option,
)
from pommel.cli.console import serve_here, show
from pommel.cli.output import print_json, reporter
from pommel.cli.waiting import await_machine, wait_options


@click.command("up")
@name_argument()
@click.option(
    "-d",
    "--detach",
    is_flag=True,
    help="Run machine and console in the background and return; the default without a terminal.",
)
@wait_options
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the page; if it is in use, the next free port.")
@tls_options
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@click.option("--headless", is_flag=True, help="Do not open a console page; you can open it later.")
@clipboard_option
@offline_option
@machine_options
@yes_option
@dry_run_option
@json_option
def up_command(
    name: str,
    detach: bool,
    port: int | None,
    no_open: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Create machine NAME if it does not exist, start it, and serve its screen on a local page.

    `pommel up trial` builds a small Debian desktop for trying Pommel without a Mac. `pommel up sonoma` (or another
    macOS) clones OSX-KVM, downloads Apple's recovery image, and starts the macOS installer. Neither needs any
    configuration.

    It waits until the desktop or the installer is shown, or for the state given with --wait. If this takes too
    long, it prints a warning; with --wait, this is an error. Then it stays in the foreground and shows a short live
    status. Ctrl-C ends the console and leaves the machine running. With --detach, both run in the background.
    """
    workspace = Workspace.current()
    offline: Path | None = options.pop("offline")
    headless: bool = options.pop("headless")
    tls: TlsWish = options.pop("tls")
    until, timeout_s = options.pop("until"), options.pop("wait_timeout")
    wanted = until or "desktop"
    flags = split_flags(options)
    if dry_run:
        _show_plan(up.plan(name, workspace=workspace, flags=flags, until=wanted), name, as_json=as_json)
        return
    if not headless:
        check_for(workspace, name, tls)
    agrees = consent_to(yes)
    up.up(name, workspace=workspace, flags=flags, offline=offline, consent=agrees, until=None, report=reporter())
    waited = await_machine(name, wanted, timeout_s, asked=until is not None)
    facts: dict[str, Any] = {"waited": waited.as_dict() if waited else None}
    if headless:
        _say(machines.status(name, workspace=workspace), facts, as_json=as_json)
    elif detach or not sys.stdout.isatty():
        found = console.open_detached(workspace, name, port=port, tls=tls)
        show(workspace, found, as_json=as_json, browse=False, **facts)
        click.echo(f"{name} and its console keep running. To stop it: pommel stop {name}", err=True)
    elif console.find(workspace.paths(name)) is not None:
        there = console.open_detached(workspace, name, port=port, tls=tls)  # sees that it is as asked
        show(workspace, there, as_json=as_json, browse=not no_open, **facts)
        click.echo(f"its console was already running (pid {there.pid})", err=True)
    else:
        serve_here(workspace, name, port=port, tls=tls, as_json=as_json, browse=not no_open, more=facts)


def _say(seen: machines.Status, facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(seen.as_dict() | facts)
    else:
        click.echo(f"{seen.name} is {seen.state} ({locks.whom(seen.pid)}, {seen.ssh})")


def _show_plan(plan: up.Plan, name: str, *, as_json: bool) -> None:
    if as_json:
        steps = [{"what": s.what, "reasons": list(s.why), "needed": s.needed} for s in plan.steps]
        print_json({"name": name, "steps": steps, "warnings": list(plan.warnings)})
    else:
        for line in plan.warnings:
            click.echo(f"warning: {line}", err=True)
        for step in plan.steps:
            click.echo(f"{'would' if step.needed else 'done '}  {step.what}")
            for why in step.why:
                click.echo(f"         {why}")
