"""`pommel trust`. Band: face."""

from __future__ import annotations

from pathlib import Path

import click

from pommel.app.upstream import trust
from pommel.cli.common import json_option
from pommel.cli.output import answered, print_table
from pommel.errors import UsageError


@click.command("trust")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--list", "listing", is_flag=True, help="List what is trusted.")
@click.option("--remove", is_flag=True, help="Stop trusting PATHS.")
@json_option
def trust_command(paths: tuple[Path, ...], listing: bool, remove: bool) -> None:
    """Trust PATHS although other users can write them: a pommel.toml, a folder with all its contents, or a boot
    script.

    Pommel uses configuration, boot scripts, patches and files only if they belong to you or to root, because they
    decide what runs as your user. A boot script is trusted only with its present contents: if there is no sandbox,
    it runs as your user, and Pommel asks again after it has changed.
    """
    if listing or not paths:
        if paths or remove:
            raise UsageError("give one or more paths, or pass --list", hint="pommel trust --list; pommel trust PATH")
        found = trust.entries()
    elif remove:
        trust.forget(list(paths))
        found = []
    else:
        found = trust.allow(list(paths))
    if answered({"trusted": [trust.as_dict(entry) for entry in found]}):
        return
    if found:
        print_table(("PATH", "KIND", "STATE"), [(entry.path, entry.kind, entry.state) for entry in found])
    elif not remove:
        click.echo("only files of yours and of root are trusted", err=True)
