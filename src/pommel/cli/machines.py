"""`pommel start|stop|status|list|log|delete`. Band: face."""

from __future__ import annotations

from typing import Any

import click

from pommel.app import machines
from pommel.cli.common import json_option, machine_options, name_argument, split_flags, yes_option
from pommel.cli.output import interactive, print_json, print_pairs, print_table, reporter
from pommel.errors import StateError, UsageError


@click.command("start")
@name_argument()
@machine_options
@json_option
def start_command(name: str, as_json: bool, **options: Any) -> None:
    """Start machine NAME in the background. It lives on when this terminal closes."""
    seen = machines.start(name, flags=split_flags(options), report=reporter())
    if as_json:
        print_json(seen.as_dict())
    else:
        click.echo(f"{name} is {seen.state} (pid {seen.pid}, ssh on port {seen.ssh_port})")


@click.command("stop")
@name_argument(required=False)
@click.option("--all", "every", is_flag=True, help="Stop every machine that runs.")
@click.option("-f", "--force", is_flag=True, help="Do not ask the guest: end QEMU. The guest's disk may need a check.")
@click.option("--timeout", type=float, help="Seconds the guest may take to power down.  [default: stop_timeout, 60]")
@json_option
def stop_command(name: str | None, every: bool, force: bool, timeout: float | None, as_json: bool) -> None:
    """Power machine NAME down: the power button first, then QEMU's quit, then kill. Says which did it."""
    if every == (name is not None):
        raise UsageError("name one machine, or say --all", hint="pommel stop NAME")
    report = reporter()
    done = {}
    for one in machines.running() if every else [str(name)]:
        done[one] = machines.stop(one, timeout_s=timeout, force=force, report=report)
        if not as_json:
            click.echo(f"{one} has stopped ({done[one]})")
    if as_json:
        rows = [{"name": one, "state": "stopped", "how": how} for one, how in done.items()]
        print_json({"machines": rows} if every else rows[0])
    elif not done:
        click.echo("nothing runs", err=True)


@click.command("status")
@name_argument()
@json_option
def status_command(name: str, as_json: bool) -> None:
    """Say how machine NAME is."""
    seen = machines.status(name)
    if as_json:
        print_json(seen.as_dict())
        return
    print_pairs({key: value for key, value in _spelled(seen).items() if value})


@click.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List all machines: those that exist and those that pommel.toml names."""
    found = machines.list_machines()
    if as_json:
        print_json({"machines": [seen.as_dict() for seen in found]})
        return
    rows = [
        (
            seen.name,
            seen.state,
            machines.spell_duration(seen.uptime_s),
            str(seen.ssh_port or "-") if seen.pid else "-",
            seen.url or "-",
        )
        for seen in found
    ]
    print_table(("NAME", "STATE", "UP", "SSH", "CONSOLE"), rows)


@click.command("log")
@name_argument()
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True, help="How many lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
def log_command(name: str, lines: int, follow: bool) -> None:
    """Show what QEMU wrote, with a line for each start."""
    for line in machines.log_lines(name, last=lines, follow=follow):
        click.echo(line)


@click.command("delete")
@name_argument()
@yes_option
def delete_command(name: str, yes: bool) -> None:
    """Delete machine NAME with its disk. There is no way back.

    Asks for the name on a terminal; elsewhere it needs --yes.
    """
    if not yes:
        if not interactive():
            raise UsageError(f"deleting {name} needs a yes", hint=f"pommel delete {name} --yes")
        if click.prompt(f"This deletes {name} and its disk. Type its name to go on", err=True) != name:
            raise StateError("that is not its name: nothing was deleted")
    machines.delete(name)
    click.echo(f"{name} is deleted")


def _spelled(seen: machines.Status) -> dict[str, str]:
    return {
        "name": seen.name,
        "state": seen.state,
        "detail": seen.detail,
        "pid": str(seen.pid or ""),
        "up": machines.spell_duration(seen.uptime_s) if seen.uptime_s is not None else "",
        "accel": seen.accel or "",
        "ssh": f"127.0.0.1:{seen.ssh_port} as {seen.ssh_user}" if seen.pid else "",
        "console": seen.url or "",
        "folder": seen.directory or "",
        "hint": f"pommel up {seen.name}" if seen.state in ("absent", "stopped", "crashed") else "",
    }
