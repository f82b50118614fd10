"""`pommel display NAME`. Band: face."""

from __future__ import annotations

from typing import Any

import click

from pommel.app.machine import displays as app
from pommel.cli.common import dry_run_option, json_option, name_argument
from pommel.cli.output import answered, print_pairs, reporter
from pommel.errors import UsageError

_DEFAULT = "default"


@click.command("display")
@name_argument()
@click.option(
    "--adapter",
    type=click.Choice((*app.ADAPTERS, _DEFAULT)),
    help="The display adapter; default: the boot script's own.",
)
@click.option("--resolution", metavar="WIDTHxHEIGHT|default", help="The resolution, from the boot picker on.")
@click.option("--displays", type=click.IntRange(1, 16), help="Number of displays; more than one needs virtio-gpu.")
@dry_run_option
@json_option
def display_command(
    name: str, adapter: str | None, resolution: str | None, displays: int | None, dry_run: bool
) -> None:
    """Show the display adapter and the resolution of machine NAME, or set them for its next starts.

    \b
    pommel display sonoma --resolution 1920x1080
    pommel display box --adapter virtio-gpu --displays 2
    pommel screenshot box two.png --display 2       likewise: vnc, view

    These settings are stored with the machine; display, resolution and displays in pommel.toml override them. A
    running guest with a virtio-gpu gets a new resolution at once.
    """
    wanted = _changes(display=adapter, resolution=resolution, displays=displays)
    if dry_run and not wanted:
        raise UsageError(
            "--dry-run needs a change to show", hint=f"pommel display {name} --resolution 1920x1080 --dry-run"
        )
    told = app.change(name, wanted, dry_run=dry_run, report=reporter()) if wanted else app.listed(name)
    if answered({**told.as_dict(), **({"dry_run": True} if dry_run else {})}):
        return
    if dry_run:
        for key, value in wanted.items():
            click.echo(f"{key} of {name} would be {_DEFAULT if value is None else value}")
        return
    print_pairs({key: value for key, value in _fields(told).items() if value})


def _changes(**given: Any) -> dict[str, Any]:
    return {key: None if value == _DEFAULT else value for key, value in given.items() if value is not None}


def _fields(told: app.MachineDisplays) -> dict[str, str]:
    now = [f"display {each.number}: {each.width}x{each.height}" for each in told.screens]
    return {
        "name": told.name,
        "adapter": f"{told.adapter or 'unknown'} ({told.adapter_by})",
        "resolution": f"{told.resolution} ({told.resolution_by})" if told.resolution else told.resolution_by,
        "displays": str(told.outputs),
        "now": "; ".join(now) or told.state,
        "note": f"the new values apply from the next start: pommel restart {told.name}" if told.pending else "",
    }
