"""`pommel up NAME`. Band: face."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pommel.app import console, machines, up
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
    yes_option,
)
from pommel.cli.console import serve_here, show
from pommel.cli.output import print_json, reporter


@click.command("up")
@name_argument()
@click.option(
    "-d", "--detach", is_flag=True, help="Leave machine and console running and return; the default without a terminal."
)
@click.option(
    "--wait",
    type=click.Choice(["screen", "ssh"]),
    default="screen",
    show_default=True,
    help="Until what to wait: its screen shows something, or its guest answers SSH.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the page; the next free one if it is busy.")
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@click.option("--headless", is_flag=True, help="Without a console page; it can be opened later.")
@clipboard_option
@offline_option
@machine_options
@yes_option
@dry_run_option
@json_option
def up_command(
    name: str,
    detach: bool,
    wait: str,
    port: int | None,
    no_open: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make machine NAME if it is not there, start it, and serve its screen on a local page.

    `pommel up trial` builds a small Debian desktop that stands in for a Mac. `pommel up sonoma` (or another macOS)
    clones OSX-KVM, fetches Apple's recovery image, and starts macOS's installer. Neither needs any configuration.

    Stays in the foreground with a short live status; Ctrl-C ends the console and leaves the machine running. With
    --detach both go on by themselves.
    """
    workspace = Workspace.current()
    offline: Path | None = options.pop("offline")
    headless: bool = options.pop("headless")
    flags = split_flags(options)
    if dry_run:
        _show_plan(up.plan(name, workspace=workspace, flags=flags), name, as_json=as_json)
        return
    report = reporter()
    seen = up.up(name, workspace=workspace, flags=flags, offline=offline, consent=consent_to(yes), report=report)
    if wait == "ssh":
        up.wait_ssh(name, workspace=workspace, report=report)
    facts = {"ssh_port": seen.ssh_port, "accel": seen.accel}
    if headless:
        _say(seen, as_json=as_json)
    elif detach or not sys.stdout.isatty():
        found = console.open_detached(workspace, name, port=port)
        show(found, as_json=as_json, browse=False, **facts)
        click.echo(f"{name} and its console go on. Stop it with: pommel stop {name}", err=True)
    elif (there := console.find(workspace.paths(name))) is not None:
        show(there, as_json=as_json, browse=not no_open, **facts)
        click.echo(f"its console was there already (pid {there.pid})", err=True)
    else:
        serve_here(workspace, name, port=port, as_json=as_json, browse=not no_open, more=facts)


def _say(seen: machines.Status, *, as_json: bool) -> None:
    if as_json:
        print_json(seen.as_dict())
    else:
        click.echo(f"{seen.name} is {seen.state} (pid {seen.pid}, {seen.ssh})")


def _show_plan(plan: up.Plan, name: str, *, as_json: bool) -> None:
    if as_json:
        steps = [{"what": s.what, "why": list(s.why), "needed": s.needed} for s in plan.steps]
        print_json({"name": name, "steps": steps, "warnings": list(plan.warnings)})
    else:
        for line in plan.warnings:
            click.echo(f"warning: {line}", err=True)
        for step in plan.steps:
            click.echo(f"{'would' if step.needed else 'done '}  {step.what}")
            for why in step.why:
                click.echo(f"         {why}")
