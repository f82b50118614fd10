"""`pommel snapshot save|load|list|delete`; what is saved by itself is `snapshot_timer`'s. Band: face."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from pommel.app.disk import snapshots
from pommel.cli.common import complete_tag, confirm, json_option, name_argument, yes_option
from pommel.cli.output import answer, answered, print_table, reporter
from pommel.cli.snapshot_timer import due_command, prune_command, timer_command

tag_argument = click.argument("tag", shell_complete=complete_tag)


@click.group("snapshot")
def snapshot_command() -> None:
    """Manage snapshots of a machine. A snapshot contains its disks and NVRAM and, if it runs, its memory."""


for each in (due_command, prune_command, timer_command):
    snapshot_command.add_command(each)


@snapshot_command.command("save")
@name_argument()
@click.argument("tag")
@click.option(
    "--ram/--no-ram",
    default=None,
    help="Require the memory in the snapshot, or leave it out.  [default: with memory if possible]",
)
@json_option
def save_command(name: str, tag: str, ram: bool | None) -> None:
    """Save machine NAME as snapshot TAG. The machine may be running, and keeps running."""
    saved = snapshots.save(name, tag, live=ram, report=reporter())
    answer(_as_dict(saved), f"{name}: {tag} is saved" + (", with its memory" if saved.ram else ""))


@snapshot_command.command("load")
@name_argument()
@tag_argument
@click.option("--disk-only", is_flag=True, help="Do not load the memory: the guest boots. The machine must be stopped.")
@yes_option
@json_option
def load_command(name: str, tag: str, disk_only: bool, yes: bool) -> None:
    """Restore machine NAME to snapshot TAG. Everything that was written after the snapshot is lost, unless another
    snapshot holds it.

    If the snapshot contains memory, the machine continues from that moment. If it is stopped, it is started.
    """
    again = f"pommel snapshot load {name} {tag} --yes"
    confirm(f"What {name} wrote after {tag} will be lost. Continue?", yes=yes, typed=again)
    loaded = snapshots.load(name, tag, ram=False if disk_only else None, report=reporter())
    answer(_as_dict(loaded), f"{name} is restored to {tag}")


@snapshot_command.command("list")
@name_argument()
@json_option
def list_command(name: str) -> None:
    """List the snapshots of machine NAME, oldest first."""
    found = snapshots.list_snapshots(name)
    if answered({"name": name, "snapshots": [_as_dict(each) for each in found]}):
        return
    rows = [(each.tag, each.created, "yes" if each.ram else "no", each.note or "") for each in found]
    print_table(("TAG", "CREATED", "MEMORY", "NOTE"), rows)


@snapshot_command.command("delete")
@name_argument()
@tag_argument
@yes_option
def delete_command(name: str, tag: str, yes: bool) -> None:
    """Delete snapshot TAG of machine NAME. The machine may be running."""
    confirm(f"Delete the snapshot {tag} of {name}?", yes=yes, typed=f"pommel snapshot delete {name} {tag} --yes")
    snapshots.delete(name, tag, report=reporter())
    click.echo(f"{name}: {tag} is deleted")


def _as_dict(snapshot: Any) -> dict[str, Any]:
    told = asdict(snapshot)
    return told | {"disk_files": told.pop("disks")}
