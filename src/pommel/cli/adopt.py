"""`pommel adopt PATH`. Band: face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pommel.app.adopt import adopting as adopt
from pommel.app.adopt.plan import AdoptPlan
from pommel.app.machine.info import info
from pommel.app.workspace import Workspace
from pommel.cli.common import confirm, dry_run_option, json_option, yes_option
from pommel.cli.output import answered, print_json, print_table, reporter, wants_json
from pommel.settings import format_size


@click.command("adopt")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", help="The name of the new machine.  [default: the folder's or file's name]")
@click.option("--copy", "mode", flag_value="copy", default="copy", help="Copy the disk; the old disk stays.  [default]")
@click.option("--move", "mode", flag_value="move", help="Move the disk to Pommel's folder.")
@click.option("--in-place", "mode", flag_value="in-place", help="Use the disk where it is.")
@dry_run_option
@yes_option
@json_option
def adopt_command(path: Path, name: str | None, mode: str, dry_run: bool, yes: bool) -> None:
    """Create a machine from a Mac that is already installed. The Mac keeps its identity and settings.

    PATH is a folder of OSX-KVM, macos-vm, ULTMOS or macOS-Simple-KVM, the storage folder of dockur/macos, a
    quickemu .conf, a libvirt domain's XML (virsh dumpxml NAME), or a disk image. Pommel takes over disk, NVRAM,
    boot disk, MAC address, UUID, serial numbers, memory and CPU. Shut the Mac down first.

    Only the disk is ever moved: all other files are copied, and nothing of the old tool is deleted. If a move was
    interrupted, type the same command again to finish it. --dry-run shows each file and setting.
    """
    workspace = Workspace.current()
    if adopt.unfinished(path, workspace) is None:
        chosen = adopt.plan(path, name=name, mode=mode, workspace=workspace)
        if dry_run:
            _show(chosen)
            return
        if mode != "copy":
            if not wants_json():
                _show(chosen)
            question = f"{mode} {chosen.items[0].source} as the disk of {chosen.name}"
            confirm(question, yes=yes, typed=f"pommel adopt {path} --{mode} --yes")
    made = adopt.adopt(path, name=name, mode=mode, workspace=workspace, report=reporter())
    if wants_json():
        print_json(info(made.name))
        return
    click.echo(f"{made.name} is adopted. To start it: pommel up {made.name}")


def _show(chosen: AdoptPlan) -> None:
    if answered(chosen.as_dict()):
        return
    click.echo(f"{chosen.source} is {chosen.kind}; it becomes the machine {chosen.name}")
    rows = [(item.what, format_size(item.size_bytes), item.how, item.source, item.target) for item in chosen.items]
    print_table(("FILE", "USED", "", "FROM", "TO"), rows)
    taken = [(key, _text(value.value), value.source) for key, value in chosen.taken.items()]
    print_table(("TAKEN", "VALUE", "FROM"), [*taken, ("upstream", chosen.made.upstream, "boot files")])
    for warning in chosen.warnings:
        click.echo(f"note: {warning}")


def _text(value: Any) -> str:
    return " ".join(value) if isinstance(value, list | tuple) else str(value)
