"""`pommel backup|restore`. Band: face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pommel.app.disk import backups, restoring
from pommel.app.disk.restoring import ChosenPoint
from pommel.app.machine.info import info
from pommel.app.workspace import Workspace
from pommel.cli.common import confirm, dry_run_option, json_option, name_argument, words_given, yes_option
from pommel.cli.output import answer, answered, print_json, print_table, reporter, wants_json
from pommel.errors import UsageError
from pommel.settings import format_size

folder_type = click.Path(path_type=Path)


@click.command("backup")
@name_argument()
@click.argument("target", type=folder_type, required=False)
@click.option("--full", is_flag=True, help="Copy the whole disks, not only the changes.")
@click.option(
    "--keep",
    type=int,
    help="How many backups to keep at least; older ones are deleted when no newer one needs them.  [default: all]",
)
@dry_run_option
@json_option
def backup_command(name: str, target: Path | None, full: bool, keep: int | None, dry_run: bool) -> None:
    """Back up machine NAME to the folder TARGET, for example on another drive. The machine may be running.

    The first backup contains all disks, each later one only the changes since the last. Without TARGET, the target
    of the last backup is used. All disks are saved at the same moment, in the state after a power cut. To list the
    backups: pommel restore TARGET --list
    """
    workspace = Workspace.current()
    if dry_run:
        planned = backups.dry_run(name, target, full=full, keep=keep, workspace=workspace)
        if answered(planned):
            return
        click.echo(f"{name} would be backed up to {planned['path']}")
        for each in planned["backed_disks"]:
            what = "the whole disk" if each["full"] else "only the changes"
            click.echo(f"  {each['disk_file']}: {what}" + (f" ({each['why_full']})" if each["why_full"] else ""))
        return
    made = backups.backup(name, target, full=full, keep=keep, workspace=workspace, report=reporter())
    if answered(made.as_dict()):
        return
    kind = "full" if made.point.full else "only the changes"
    click.echo(f"{name} is backed up: {made.path} ({kind}, {format_size(made.point.size_bytes)})")


@click.command("restore")
@click.argument("target", type=folder_type)
@name_argument(required=False)
@click.option("--list", "listing", is_flag=True, help="List the backups.")
@click.option("--check", is_flag=True, help="Read the backup and compare it with its checksums; restore nothing.")
@click.option("--at", help="Which backup: its number, its name or a time.  [default: the newest]")
@click.option("--as", "new", metavar="NEW", help="The name of the new machine.  [default: its old name]")
@click.option(
    "--keep-identity/--new-identity",
    default=None,
    help="Keep UUID, MAC address and serial numbers, or not.  [default: keep them if no other machine on this host "
    "has them]",
)
@yes_option
@dry_run_option
@json_option
def restore_command(
    target: Path, name: str | None, *, listing: bool, check: bool, yes: bool, dry_run: bool, **which: Any
) -> None:
    """Create machine NAME from a backup in the folder TARGET.

    If a machine with this name exists, Pommel asks before it replaces it (or pass --yes). It never replaces a
    running machine.
    """
    workspace = Workspace.current()
    if listing:
        if check or dry_run or any(value is not None for value in which.values()):
            raise UsageError("--list only shows what there is", hint="leave the other options out")
        _list(target, name, workspace)
        return
    chosen = restoring.choose(target, name, **which, workspace=workspace)
    if dry_run and not check:
        _would(chosen)
        return
    if check:
        read = restoring.verify(chosen, report=reporter())
        told = {"point": chosen.point.id, "name": chosen.point.machine, "ok": True}
        answer(
            {**told, "read_files": read.files, "read_bytes": read.bytes},
            f"{chosen.point.id} is complete: {read.files} files, {format_size(read.bytes)} read",
        )
        return
    if chosen.over:
        question = f"{chosen.name} exists, and everything on it will be lost. Replace it with {chosen.point.id}?"
        confirm(question, yes=yes, typed=" ".join(("pommel restore", *words_given(), "--yes")))
    made = restoring.restore(chosen, workspace=workspace, report=reporter())
    if wants_json():
        print_json(info(made.name))
        return
    identity = "its identity is kept" if chosen.keeps_identity else "with a new identity"
    click.echo(f"{made.name} is restored from {chosen.point.id}, {identity}: pommel up {made.name}")


def _list(target: Path, name: str | None, workspace: Workspace) -> None:
    found = restoring.found(target, name, workspace=workspace)
    points = [point for held in found for point in sorted(held.points.values(), key=lambda each: each.number)]
    bad = [(held.path.name, point, why) for held in found for point, why in held.damaged.items()]
    damaged = [{"name": machine, "point": point, "problem": why} for machine, point, why in bad]
    if answered(
        {"path": str(target), "points": [backups.point_as_dict(each) for each in points], "damaged_points": damaged}
    ):
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


def _would(chosen: ChosenPoint) -> None:
    told: dict[str, Any] = {**chosen.as_dict(), "dry_run": True}
    if answered(told):
        return
    what = f"replace the machine {chosen.name}" if chosen.over else f"make the machine {chosen.name}"
    identity = "its old identity" if chosen.keeps_identity else "a new identity"
    click.echo(f"would {what} from {told['path']} ({chosen.point.created}), with {identity}")
    for line in chosen.point.notes:
        click.echo(f"  {line}")
