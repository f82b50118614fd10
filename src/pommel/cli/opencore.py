"""`pommel opencore build`. Band: face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pommel.app.upstream import opencore
from pommel.cli.common import complete_name, json_option
from pommel.cli.output import answer, reporter


@click.group("opencore")
def opencore_command() -> None:
    """Build OpenCore, the boot picker from which macOS machines start."""


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
    "--efi",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="The EFI folder.  [default: the upstream's]",
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="The config.plist.  [default: the upstream's]",
)
@click.option("--timeout", type=click.IntRange(0), help="Seconds until the picker starts its default entry; 0: never.")
@click.option("--resolution", help="Screen resolution of the picker, such as 1920x1080.")
@click.option("--boot-args", help="The kernel's arguments, instead of those in config.plist.")
@click.option("--add-boot-args", help="Arguments in addition to those in config.plist.")
@click.option(
    "--shows", type=click.Choice(["recovery", "macos"]), help="Start only Recovery (HFS+), or only macOS (APFS)."
)
@click.option("-f", "--force", is_flag=True, help="Replace an existing file.")
@json_option
def build_command(
    name: str | None,
    output: Path,
    efi: Path | None,
    config: Path | None,
    force: bool,
    **asked: Any,
) -> None:
    """Build a boot disk from OpenCore's EFI folder and config.plist, without mounting anything.

    Without --efi and --config, the files of machine NAME's upstream are used. `boot_disk = "FILE"` in pommel.toml
    makes a machine start from this disk. Entries of config.plist whose file is missing are turned off in the built
    copy, and listed.
    """
    asked["timeout_s"] = asked.pop("timeout")
    given = {key: value for key, value in asked.items() if value is not None}
    made = opencore.pack(output, efi=efi, config=config, name=name, force=force, options=given, report=reporter())
    told = {"disabled": made.disabled, "changes": made.changes}
    answer({"path": str(made.path), **{key: list(map(str, found)) for key, found in told.items()}}, made.path)
