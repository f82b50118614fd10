"""`pommel config NAME`: every setting, its value and its source. Band: face."""

from __future__ import annotations

from typing import Any

import click

from pommel.app.workspace import Workspace
from pommel.cli.common import json_option, machine_options, name_argument, split_flags
from pommel.cli.output import answered, print_table
from pommel.settings import format_size

_SIZES = {"memory", "disk"}


@click.command("config")
@name_argument()
@machine_options
@json_option
def config_command(name: str, **options: Any) -> None:
    """Show the settings of machine NAME and the source of each.

    A setting comes from its default, from [machine.NAME] in pommel.toml (here, in a parent folder, or in your
    configuration folder), from the environment (POMMEL_CORES for `cores`), or from a flag. Later sources override
    earlier ones. "-" means that the upstream decides.
    """
    workspace = Workspace.current()
    values = workspace.settings(name, split_flags(options))
    if answered(
        {
            "name": name,
            "file": str(workspace.file.path) if workspace.file.path else None,
            "settings": {k: {"value": v.value, "source": v.source, "where": v.where} for k, v in values.items()},
        }
    ):
        return
    rows = [(key, _shown(key, v.value), v.source + (f" {v.where}" if v.where else "")) for key, v in values.items()]
    print_table(("SETTING", "VALUE", "SOURCE"), rows)


def _shown(key: str, value: Any) -> str:
    if value in (None, (), {}):
        return "-"
    if key in _SIZES:
        return format_size(value)
    if isinstance(value, dict):
        return " ".join(f"{name}={text}" for name, text in value.items())
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
