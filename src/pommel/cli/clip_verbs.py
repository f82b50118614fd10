"""What `pommel clip` and `vm-clip` do once they know which guest is meant, and how that looks. Band: face."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import click

from pommel import locks
from pommel.app import clip, clip_status
from pommel.app.clip_options import ClipOptions
from pommel.app.clip_status import ClipStatus
from pommel.app.clip_target import Guest
from pommel.app.machines import spell_duration
from pommel.app.workspace import Workspace
from pommel.cli.output import print_json, print_pairs, print_table, reporter
from pommel.cli.running import until_signal
from pommel.settings import format_size


def sync(workspace: Workspace, guest: Guest, options: ClipOptions, *, as_json: bool) -> None:
    """Start to sync in the background, and say how that went."""
    status = clip.sync(workspace, guest, options, report=reporter())
    if as_json:
        print_json(status.as_dict())
        return
    click.echo(f"{guest.label}: {sentence(status)} ({locks.whom(status.pid)})")
    if status.state == "refused":
        click.echo(f"keys tried: {', '.join(status.keys) or 'none'}", err=True)
    if status.hint:
        click.echo(f"hint: {status.hint}; then it connects automatically", err=True)


def serve(workspace: Workspace, guest: Guest, options: ClipOptions, *, quiet: bool, as_json: bool = False) -> None:
    """Sync in this process; unless `quiet`, say what happens."""
    from pommel.app.clip_running import serve as running

    said = ""

    def tell(status: ClipStatus) -> None:
        nonlocal said
        if as_json:
            print_json(status.as_dict())
        elif (line := sentence(status)) != said:
            said = line
            click.echo(f"{guest.label}: {line}", err=True)

    reason = asyncio.run(until_signal(running(workspace, guest, options, **({} if quiet else {"on_change": tell}))))
    if not quiet:
        click.echo(f"{guest.label}: clipboard sync ended" + (f": {reason}" if reason else ""), err=True)


def moved(guest: Guest, done: str, told: str, *, as_json: bool) -> None:
    """Say that a push or a pull is done."""
    if as_json:
        print_json({"guest": guest.label, "done": done, "how": told})
    else:
        click.echo(f"{guest.label}: {done} ({told})")


def stop(guests: list[Guest], *, every: bool, as_json: bool) -> None:
    """End syncs, and say which there were."""
    ended = {guest.label: clip.stop(guest) for guest in guests}
    if as_json:
        rows = [{"guest": label, "stopped": was} for label, was in ended.items()]
        print_json({"syncs": rows} if every else rows[0])
        return
    for label, was in ended.items():
        click.echo(f"{label}: clipboard sync ended" if was else f"{label}: no clipboard sync was running")
    if not ended:
        click.echo("no clipboard is synced", err=True)


def status(guest: Guest, *, as_json: bool) -> None:
    """Show how one sync stands."""
    seen = clip_status.look(guest.paths, guest.label)
    if as_json:
        print_json(seen.as_dict())
    else:
        print_pairs(_pairs(seen))


def status_of_all(workspace: Workspace, *, as_json: bool) -> None:
    """Show how all syncs stand."""
    seen = clip_status.all_of(workspace)
    if as_json:
        print_json({"syncs": [each.as_dict() for each in seen]})
    elif seen:
        head = ("GUEST", "STATE", "TO GUEST", "TO HOST", "LAST COPY", "PID", "WHY")
        print_table(head, [_row(each) for each in seen])
    else:
        click.echo("no clipboard is synced. To start: pommel clip sync NAME", err=True)


def history(guest: Guest, *, as_json: bool) -> None:
    """List the copies that lost."""
    entries = clip.history(guest)
    if as_json:
        print_json({"guest": guest.label, "history": [entry.as_dict() for entry in entries]})
    elif entries:
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
    """A status as a person reads it; what does not apply is left out."""
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
