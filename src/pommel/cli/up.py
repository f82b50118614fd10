"""`pommel up NAME`. Band: face."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pommel import locks
from pommel.app.console import page as console
from pommel.app.console.tls import TlsWish, check_for
from pommel.app.machine import machines, up
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
from pommel.cli.output import answer, answered, reporter
from pommel.cli.unattended_up import GroupedCommand, plan_as_dict, plan_lines, unattended_options, unattended_wish
from pommel.cli.waiting import await_machine, wait_options

if TYPE_CHECKING:
    from pommel.app.unattended.installing import InstallWish, Plan


@click.command("up", cls=GroupedCommand)
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
@unattended_options
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
    **options: Any,
) -> None:
    """Create machine NAME if it does not exist, start it, and serve its screen on a local page.

    `pommel up trial` builds a small Debian desktop for trying Pommel without a Mac. `pommel up sonoma` (or another
    macOS) clones OSX-KVM, downloads Apple's recovery image, and starts the macOS installer. Neither needs any
    configuration.

    It waits until the desktop or the installer is shown, or for the state given with --wait. If this takes too
    long, it prints a warning; with --wait, this is an error. Then it stays in the foreground and shows a short live
    status. Ctrl-C ends the console and leaves the machine running. With --detach, both run in the background.
    With --unattended, macOS is installed first, without a person, which takes hours; no Mac has run it yet.
    """
    workspace = Workspace.current()
    headless: bool = options.pop("headless")
    tls: TlsWish = options.pop("tls")
    wish = unattended_wish(options)
    offline, until, timeout_s = (options.pop(key) for key in ("offline", "until", "wait_timeout"))
    flags = split_flags(options)
    if dry_run:
        planned = up.plan(name, workspace=workspace, flags=flags, until=until or "desktop")
        _show_plan(planned, name, _installation(name, wish, workspace, flags))
        return
    if not headless:
        check_for(workspace, name, tls)
    given = {"workspace": workspace, "flags": flags, "offline": offline, "consent": consent_to(yes)}
    facts = _install(name, wish, given) if wish is not None else {}
    up.up(name, **given, until=None, report=reporter())
    waited = await_machine(name, until or "desktop", timeout_s, asked=until is not None)
    facts |= {"waited": waited.as_dict() if waited else None}
    if headless:
        _answer_status(machines.status(name, workspace=workspace), facts)
    elif detach or not sys.stdout.isatty():
        found = console.open_detached(workspace, name, port=port, tls=tls)
        show(workspace, found, browse=False, **facts)
        click.echo(f"{name} and its console keep running. To stop it: pommel stop {name}", err=True)
    elif console.find(workspace.paths(name)) is not None:
        there = console.open_detached(workspace, name, port=port, tls=tls)  # sees that it is as asked
        show(workspace, there, browse=not no_open, **facts)
        click.echo(f"its console was already running (pid {there.pid})", err=True)
    else:
        serve_here(workspace, name, port=port, tls=tls, browse=not no_open, more=facts)


def _install(name: str, wish: InstallWish, given: dict[str, Any]) -> dict[str, Any]:
    from pommel.app.unattended import installing

    return {"installation": installing.install(name, wish, **given, report=reporter()).as_dict()}


def _answer_status(seen: machines.Status, facts: dict[str, Any]) -> None:
    answer(seen.as_dict() | facts, f"{seen.name} is {seen.state} ({locks.whom(seen.pid)}, {seen.ssh})")


def _installation(name: str, wish: InstallWish | None, workspace: Workspace, flags: dict[str, Any]) -> Plan | None:
    """What --unattended would do."""
    if wish is None:
        return None
    from pommel.app.unattended import installing

    return installing.plan(name, wish, workspace=workspace, flags=flags)


def _show_plan(plan: up.UpPlan, name: str, more: Plan | None) -> None:
    steps = [{"what": s.what, "reasons": list(s.why), "needed": s.needed} for s in plan.steps]
    told = {"installation": plan_as_dict(more)} if more else {}
    if answered({"name": name, "steps": steps, "warnings": list(plan.warnings), **told}):
        return
    for line in plan.warnings:
        click.echo(f"warning: {line}", err=True)
    for step in plan.steps:
        click.echo(f"{'would' if step.needed else 'done '}  {step.what}")
        for why in step.why:
            click.echo(f"         {why}")
    for line in plan_lines(more) if more else ():
        click.echo(line)
