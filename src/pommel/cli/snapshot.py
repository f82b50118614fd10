"""`pommel snapshot save|load|list|delete`; what is saved by itself is `snapshot_timer`'s. Band: face."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from pommel.app import snapshots
from pommel.cli.common import complete_tag, confirm, json_option, name_argument, yes_option
from pommel.cli.output import print_json, print_table, reporter
from pommel.cli.snapshot_timer import due_command, prune_command, timer_command

tag_argument = click.argument("tag", shell_complete=complete_tag)


@click.group("snapshot")
def snapshot_command() -> None:
    """Snapshots of a machine: its disks and NVRAM, and while it runs its memory too."""


for each in (due_command, prune_command, timer_command):
    snapshot_command.add_command(each)


@snapshot_command.command("save")
@name_argument()
@click.argument("tag")
@click.option("--ram/--no-ram", default=None, help="Insist on the memory, or leave it out.  [where nothing forbids it]")
@json_option
def save_command(name: str, tag: str, ram: bool | None, as_json: bool) -> None:
    """Save machine NAME as TAG. It may run, and goes on."""
    saved = snapshots.save(name, tag, live=ram, report=reporter())
    if as_json:
        print_json(_told(saved))
    else:
        click.echo(f"{name}: {tag} is saved" + (", with its memory" if saved.ram else ""))


@snapshot_command.command("load")
@name_argument()
@tag_argument
@click.option("--disk-only", is_flag=True, help="Leave the memory aside: the guest boots. For a stopped machine.")
@yes_option
@json_option
def load_command(name: str, tag: str, disk_only: bool, yes: bool, as_json: bool) -> None:
    """Put machine NAME back to TAG. What came after is lost, unless it is a snapshot too.

    With memory in it, the machine goes on from that moment, and is started if it is stopped.
    """
    again = f"pommel snapshot load {name} {tag} --yes"
    confirm(f"What {name} wrote since {tag} will be lost. Go on?", yes=yes, typed=again)
    loaded = snapshots.load(name, tag, ram=False if disk_only else None, report=reporter())
    if as_json:
        print_json(_told(loaded))
    else:
        click.echo(f"{name} is back at {tag}")


@snapshot_command.command("list")
@name_argument()
@json_option
def list_command(name: str, as_json: bool) -> None:
    """List the snapshots of machine NAME, oldest first."""
    found = snapshots.list_snapshots(name)
    if as_json:
        print_json({"name": name, "snapshots": [_told(each) for each in found]})
        return
    rows = [(each.tag, each.created, "yes" if each.ram else "no", each.note or "") for each in found]
    print_table(("TAG", "CREATED", "MEMORY", "NOTE"), rows)


@snapshot_command.command("delete")
@name_argument()
@tag_argument
@yes_option
def delete_command(name: str, tag: str, yes: bool) -> None:
    """Delete snapshot TAG of machine NAME. The machine may run."""
    confirm(f"Delete the snapshot {tag} of {name}?", yes=yes, typed=f"pommel snapshot delete {name} {tag} --yes")
    snapshots.delete(name, tag, report=reporter())
    click.echo(f"{name}: {tag} is deleted")


def _told(snapshot: Any) -> dict[str, Any]:
    told = asdict(snapshot)
    return told | {"disk_files": told.pop("disks")}
