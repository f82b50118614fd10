"""`pommel trust`. Band: face."""

from __future__ import annotations

from pathlib import Path

import click

from pommel.app import trust
from pommel.cli.common import json_option
from pommel.cli.output import print_json, print_table
from pommel.errors import UsageError


@click.command("trust")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--list", "listing", is_flag=True, help="Show what is trusted.")
@click.option("--remove", is_flag=True, help="Trust PATHS no longer.")
@json_option
def trust_command(paths: tuple[Path, ...], listing: bool, remove: bool, as_json: bool) -> None:
    """Trust PATHS although somebody else can write them: a pommel.toml, a folder with all in it, or a boot script.

    Pommel takes its configuration, and boot scripts, patches and files, only from you and from root, since they decide
    what is run as you. A boot script is also trusted as it is now: where there is no sandbox, it runs as you, and a
    changed one is asked about again.
    """
    if listing or not paths:
        if paths or remove:
            raise UsageError("name the paths, or say --list", hint="pommel trust --list; pommel trust PATH")
        found = trust.entries()
    elif remove:
        trust.forget(list(paths))
        found = []
    else:
        found = trust.allow(list(paths))
    if as_json:
        print_json({"trusted": [trust.as_dict(entry) for entry in found]})
    elif found:
        print_table(("PATH", "KIND", "STATE"), [(entry.path, entry.kind, entry.state) for entry in found])
    elif not remove:
        click.echo("nothing is trusted but what is yours or root's", err=True)
