"""`pommel opencore build`. Band: face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pommel.app import opencore
from pommel.cli.common import complete_name, json_option
from pommel.cli.output import print_json, reporter


@click.group("opencore")
def opencore_command() -> None:
    """OpenCore, the boot picker that macOS machines start from."""


@opencore_command.command("build")
@click.argument("name", required=False, shell_complete=complete_name)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("OpenCore.qcow2"),
    show_default=True,
    help="The boot disk to write.",
)
@click.option(
    "--efi", type=click.Path(file_okay=False, exists=True, path_type=Path), help="The EFI folder.  [upstream's]"
)
@click.option(
    "--config", type=click.Path(dir_okay=False, exists=True, path_type=Path), help="config.plist.  [upstream's]"
)
@click.option("--timeout", type=click.IntRange(0), help="Seconds until the picker takes its default; 0: never.")
@click.option("--resolution", help="Of the picker, such as 1920x1080.")
@click.option("--boot-args", help="The kernel's arguments, in place of those in config.plist.")
@click.option("--add-boot-args", help="Arguments on top of those in config.plist.")
@click.option("-f", "--force", is_flag=True, help="Replace a file that is there.")
@json_option
def build_command(
    name: str | None,
    output: Path,
    efi: Path | None,
    config: Path | None,
    force: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Pack OpenCore's EFI folder and config.plist into a boot disk, mounting nothing.

    They are those of machine NAME's upstream unless named. `boot_disk = "FILE"` in pommel.toml makes a machine start
    from it. Entries of config.plist whose file is not there are switched off in the copy that is packed, and named.
    """
    asked["timeout_s"] = asked.pop("timeout")
    given = {key: value for key, value in asked.items() if value is not None}
    made = opencore.pack(output, efi=efi, config=config, name=name, force=force, options=given, report=reporter())
    if as_json:
        told = {"disabled": made.disabled, "changes": made.changes}
        print_json({"path": str(made.path), **{key: list(map(str, found)) for key, found in told.items()}})
    else:
        click.echo(made.path)
