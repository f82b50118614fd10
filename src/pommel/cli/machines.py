"""`pommel status|list|log|delete`. Band: face."""

from __future__ import annotations

import click

from pommel.app.machine import machines
from pommel.cli.common import json_option, name_argument, yes_option
from pommel.cli.output import answered, interactive, print_json, print_pairs, print_table, wants_json
from pommel.errors import StateError, UsageError
from pommel.settings import format_size


@click.command("status")
@name_argument()
@json_option
def status_command(name: str) -> None:
    """Show the state of machine NAME."""
    seen = machines.status(name)
    if answered(seen.as_dict()):
        return
    print_pairs({key: value for key, value in _fields(seen).items() if value})


@click.command("list")
@json_option
def list_command() -> None:
    """List all machines: existing ones, and those defined in pommel.toml."""
    found = machines.list_machines()
    if answered({"machines": [seen.as_dict() for seen in found]}):
        return
    print_table(("NAME", "STATE", "UP", "CPU", "MEMORY", "DISK", "SSH", "CONSOLE"), [_row(seen) for seen in found])


@click.command("log")
@name_argument()
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True, help="Number of lines.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines.")
@json_option
def log_command(name: str, lines: int, follow: bool) -> None:
    """Show the events of machine NAME, QEMU's output, and the guest's output to its serial port, with times.

    QEMU and the guest write no times. Their lines show the time of the event before them, or the time when they
    were read.
    """
    if wants_json():
        for line in machines.log(name, last=lines, follow=follow):
            when = line.time.isoformat() if line.time else None
            print_json({"time": when, "source": str(line.source), "text": line.text})
        return
    for text in machines.log_lines(name, last=lines, follow=follow):
        click.echo(text)


@click.command("delete")
@name_argument()
@yes_option
def delete_command(name: str, yes: bool) -> None:
    """Delete machine NAME with its disk. This cannot be undone.

    On a terminal, it asks for the machine's name; elsewhere it needs --yes.
    """
    if not yes:
        if not interactive():
            raise UsageError(f"deleting {name} needs confirmation: pass --yes", hint=f"pommel delete {name} --yes")
        if click.prompt(f"This deletes {name} and its disk. Type its name to continue", err=True) != name:
            raise StateError("this is not its name: nothing was deleted")
    machines.delete(name)
    click.echo(f"{name} is deleted")


def _row(seen: machines.Status) -> tuple[str, ...]:
    return (
        seen.name,
        seen.state,
        machines.spell_duration(seen.uptime_s),
        f"{seen.cpu_percent:.0f} %" if seen.cpu_percent is not None else "-",
        format_size(seen.memory_bytes) if seen.memory_bytes else "-",
        _disk(seen) or "-",
        str(seen.ssh_port or "-") if seen.pid else "-",
        seen.url or "-",
    )


def _fields(seen: machines.Status) -> dict[str, str]:
    return {
        "name": seen.name,
        "state": seen.state,
        "detail": seen.detail,
        "pid": str(seen.pid or ""),
        "up": machines.spell_duration(seen.uptime_s) if seen.uptime_s is not None else "",
        "accel": seen.accel or "",
        "cpu": f"{seen.cpu_percent:g} % of a core, since its start" if seen.cpu_percent is not None else "",
        "memory": format_size(seen.memory_bytes) if seen.memory_bytes else "",
        "disk": _disk(seen),
        "ssh": f"{_where(seen)} as {seen.ssh_user}" if seen.pid else "",
        "console": (seen.url or "") + (f" ({seen.viewers} viewing)" if seen.url and seen.viewers else ""),
        "mesh": seen.mesh or "",
        "folder": seen.directory or "",
        "hint": f"pommel up {seen.name}" if _can_be_started(seen) else "",
    }


def _can_be_started(seen: machines.Status) -> bool:
    """Whether `up` is what to type next; the detail of one that is not there says why it would not do."""
    return seen.state in ("stopped", "asleep", "crashed") or (seen.state == "absent" and not seen.detail)


def _where(seen: machines.Status) -> str:
    return f"127.0.0.1:{seen.ssh_port}" if seen.ssh_port else f"its own address (pommel ip {seen.name})"


def _disk(seen: machines.Status) -> str:
    if seen.disk_used_bytes is None or not seen.disk_size_bytes:
        return ""
    return f"{format_size(seen.disk_used_bytes)} of {format_size(seen.disk_size_bytes)}"
