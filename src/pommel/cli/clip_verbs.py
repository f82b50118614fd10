"""The common actions of `pommel clip` and `vm-clip`, and their output. Band: face."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import click

from pommel import locks
from pommel.app.clip import status as clip_status
from pommel.app.clip import sync as clip
from pommel.app.clip.options import ClipOptions
from pommel.app.clip.status import ClipStatus
from pommel.app.clip.target import Guest
from pommel.app.machine.machines import spell_duration
from pommel.app.workspace import Workspace
from pommel.cli.output import answer, answered, print_pairs, print_table, reporter
from pommel.cli.running import until_signal
from pommel.settings import format_size


def sync(workspace: Workspace, guest: Guest, options: ClipOptions) -> None:
    """Start a sync in the background, and print the result."""
    status = clip.sync(workspace, guest, options, report=reporter())
    if answered(status.as_dict()):
        return
    click.echo(f"{guest.label}: {sentence(status)} ({locks.whom(status.pid)})")
    if status.state == "refused":
        click.echo(f"keys tried: {', '.join(status.keys) or 'none'}", err=True)
    if status.hint:
        click.echo(f"hint: {status.hint}; then it connects automatically", err=True)


def serve(workspace: Workspace, guest: Guest, options: ClipOptions, *, quiet: bool) -> None:
    """Sync in this process; unless `quiet`, print its events."""
    from pommel.app.clip.running import serve as running

    said = ""

    def tell(status: ClipStatus) -> None:
        nonlocal said
        if answered(status.as_dict()):
            return
        if (line := sentence(status)) != said:
            said = line
            click.echo(f"{guest.label}: {line}", err=True)

    reason = asyncio.run(until_signal(running(workspace, guest, options, **({} if quiet else {"on_change": tell}))))
    if not quiet:
        click.echo(f"{guest.label}: clipboard sync ended" + (f": {reason}" if reason else ""), err=True)


def moved(guest: Guest, done: str, told: str) -> None:
    """Print the result of a push or a pull."""
    answer({"guest": guest.label, "done": done, "how": told}, f"{guest.label}: {done} ({told})")


def stop(guests: list[Guest], *, every: bool) -> None:
    """End syncs, and print their names."""
    ended = {guest.label: clip.stop(guest) for guest in guests}
    rows = [{"guest": label, "stopped": was} for label, was in ended.items()]
    if answered({"syncs": rows} if every else rows[0]):
        return
    for label, was in ended.items():
        click.echo(f"{label}: clipboard sync ended" if was else f"{label}: no clipboard sync was running")
    if not ended:
        click.echo("no clipboard is synced", err=True)


def status(guest: Guest) -> None:
    """Print the state of one sync."""
    seen = clip_status.look(guest.paths, guest.label)
    if not answered(seen.as_dict()):
        print_pairs(_pairs(seen))


def status_of_all(workspace: Workspace) -> None:
    """Print the states of all syncs."""
    seen = clip_status.all_of(workspace)
    if answered({"syncs": [each.as_dict() for each in seen]}):
        return
    if seen:
        head = ("GUEST", "STATE", "TO GUEST", "TO HOST", "LAST COPY", "PID", "WHY")
        print_table(head, [_row(each) for each in seen])
    else:
        click.echo("no clipboard is synced. To start: pommel clip sync NAME", err=True)


def history(guest: Guest) -> None:
    """List the copies that were replaced."""
    entries = clip.history(guest)
    if answered({"guest": guest.label, "history": [entry.as_dict() for entry in entries]}):
        return
    if entries:
        rows = [(str(e.number), _ago(e.at or None), e.side, format_size(e.size_bytes), e.beginning) for e in entries]
        print_table(("N", "COPIED", "ON", "SIZE", "BEGINS"), rows)
    else:
        click.echo("no replaced copy is kept. To keep some: pommel clip sync --history 20", err=True)


def sentence(seen: ClipStatus) -> str:
    """A sync's state in a line."""
    ways = {"both": "both ways", "host-to-guest": "to the guest only", "guest-to-host": "from the guest only"}
    if seen.state == "syncing":
        return f"clipboard syncing, {ways[seen.direction]}"
    if seen.state == "guest asleep":
        return f"waiting for the guest to sync its clipboard: {seen.why}"
    return f"{seen.state}{': ' + seen.why if seen.why else ''}"


def _row(seen: ClipStatus) -> tuple[str, ...]:
    pid = str(seen.pid) if seen.pid else "-"
    return seen.guest, seen.state, str(seen.to_guest), str(seen.to_host), _ago(seen.last_change), pid, seen.why


def _pairs(seen: ClipStatus) -> dict[str, str]:
    """A status in words; fields that do not apply are left out."""
    found: dict[str, Any] = {
        "guest": seen.guest,
        "state": seen.state,
        "why": seen.why,
        "type": seen.hint,
        "pid": seen.pid,
    }
    if seen.running:
        held = {"on this desktop": seen.stayed_on_host, "on the guest": seen.stayed_on_guest}
        found |= {
            "keys tried": ", ".join(seen.keys) if seen.state == "refused" else "",
            "desktop": seen.desktop,
            "direction": seen.direction,
            "sent": f"{seen.to_guest} copies to the guest",
            "received": f"{seen.to_host} copies from the guest",
            "last copy": _ago(seen.last_change),
            "latency": "" if seen.latency_ms is None else f"{seen.latency_ms:.0f} ms",
            "stayed": "; ".join(f"the newest {where}: {why}" for where, why in held.items() if why),
            "files": seen.transfer,
            "limit": format_size(seen.limit_bytes),
            "history": f"the last {seen.history}" if seen.history else "",
            "ends": "with the machine" if seen.with_machine else "",
            "note": "; ".join(seen.notes),
        }
    return {key: str(value) for key, value in found.items() if value not in ("", None)}


def _ago(moment: float | None) -> str:
    return "-" if moment is None else f"{spell_duration(max(0.0, time.time() - moment))} ago"
