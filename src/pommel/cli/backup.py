"""`pommel backup|restore`. Band: face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pommel.app import backups, restoring
from pommel.app.info import info
from pommel.app.restoring import Chosen
from pommel.app.workspace import Workspace
from pommel.cli.common import confirm, dry_run_option, json_option, name_argument, words_given, yes_option
from pommel.cli.output import print_json, print_table, reporter
from pommel.errors import UsageError
from pommel.settings import format_size

folder_type = click.Path(path_type=Path)


@click.command("backup")
@name_argument()
@click.argument("target", type=folder_type, required=False)
@click.option("--full", is_flag=True, help="Copy all of it, and not only what has changed.")
@click.option("--keep", type=int, help="How many to have at least; older ones go when no newer one needs them.  [all]")
@dry_run_option
@json_option
def backup_command(name: str, target: Path | None, full: bool, keep: int | None, dry_run: bool, as_json: bool) -> None:
    """Back machine NAME up to the folder TARGET, as on another drive. It may run, and goes on.

    The first backup holds all of its disks, the next ones what has changed since. Without TARGET it goes where the
    last one went. All disks are of one moment, as a power cut would leave them. pommel restore TARGET --list shows
    what there is.
    """
    workspace = Workspace.current()
    if dry_run:
        planned = backups.dry_run(name, target, full=full, keep=keep, workspace=workspace)
        if as_json:
            print_json(planned)
            return
        click.echo(f"{name} would be backed up to {planned['path']}")
        for each in planned["backed_disks"]:
            what = "all of it" if each["full"] else "what has changed"
            click.echo(f"  {each['disk_file']}: {what}" + (f" ({each['why_full']})" if each["why_full"] else ""))
        return
    made = backups.backup(name, target, full=full, keep=keep, workspace=workspace, report=reporter())
    if as_json:
        print_json(made.as_dict())
        return
    kind = "full" if made.point.full else "what has changed"
    click.echo(f"{name} is backed up: {made.path} ({kind}, {format_size(made.point.size_bytes)})")


@click.command("restore")
@click.argument("target", type=folder_type)
@name_argument(required=False)
@click.option("--list", "listing", is_flag=True, help="Show the backups that are there.")
@click.option("--check", is_flag=True, help="Read the backup and compare it with what was written; restore nothing.")
@click.option("--at", help="Which backup: its number, its name or a time.  [the newest]")
@click.option("--as", "new", metavar="NEW", help="What to call the machine.  [as it was called]")
@click.option(
    "--keep-identity/--new-identity",
    default=None,
    help="Keep UUID, MAC address and serial numbers, or not.  [kept where no other machine here has them]",
)
@yes_option
@dry_run_option
@json_option
def restore_command(
    target: Path, name: str | None, *, listing: bool, check: bool, yes: bool, dry_run: bool, as_json: bool, **which: Any
) -> None:
    """Make machine NAME from a backup in the folder TARGET.

    A machine that is called so is replaced after a question, or with --yes; never one that runs.
    """
    workspace = Workspace.current()
    if listing:
        if check or dry_run or any(value is not None for value in which.values()):
            raise UsageError("--list only shows what there is", hint="leave the other options out")
        _list(target, name, workspace, as_json)
        return
    chosen = restoring.choose(target, name, **which, workspace=workspace)
    if dry_run and not check:
        _would(chosen, as_json)
        return
    if check:
        read = restoring.verify(chosen, report=reporter())
        told = {"point": chosen.point.id, "name": chosen.point.machine, "ok": True}
        if as_json:
            print_json({**told, "read_files": read.files, "read_bytes": read.bytes})
        else:
            click.echo(f"{chosen.point.id} is whole: {read.files} files, {format_size(read.bytes)} read")
        return
    if chosen.over:
        question = f"{chosen.name} is there, and what is on it now will be lost. Replace it by {chosen.point.id}?"
        confirm(question, yes=yes, typed=" ".join(("pommel restore", *words_given(), "--yes")))
    made = restoring.restore(chosen, workspace=workspace, report=reporter())
    if as_json:
        print_json(info(made.name))
        return
    identity = "its identity is what it was" if chosen.keeps_identity else "with an identity of its own"
    click.echo(f"{made.name} is restored from {chosen.point.id}, {identity}: pommel up {made.name}")


def _list(target: Path, name: str | None, workspace: Workspace, as_json: bool) -> None:
    found = restoring.found(target, name, workspace=workspace)
    points = [point for held in found for point in sorted(held.points.values(), key=lambda each: each.number)]
    bad = [(held.path.name, point, why) for held in found for point, why in held.damaged.items()]
    if as_json:
        damaged = [{"name": machine, "point": point, "problem": why} for machine, point, why in bad]
        print_json({"path": str(target), "points": [backups.told(each) for each in points], "damaged_points": damaged})
        return
    rows = [
        (
            point.machine,
            point.id,
            point.created,
            point.state,
            "full" if point.full else "",
            format_size(point.size_bytes),
        )
        for point in points
    ]
    print_table(("MACHINE", "BACKUP", "WHEN", "IT WAS", "", "SIZE"), rows)
    for machine, point, why in bad:
        click.echo(f"{machine}: {point} cannot be used: {why}", err=True)


def _would(chosen: Chosen, as_json: bool) -> None:
    told: dict[str, Any] = {**chosen.as_dict(), "dry_run": True}
    if as_json:
        print_json(told)
        return
    what = f"replace the machine {chosen.name}" if chosen.over else f"make the machine {chosen.name}"
    identity = "the identity that it had" if chosen.keeps_identity else "an identity of its own"
    click.echo(f"would {what} from {told['path']} ({chosen.point.created}), with {identity}")
    for line in chosen.point.notes:
        click.echo(f"  {line}")
