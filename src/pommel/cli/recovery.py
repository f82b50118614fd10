"""`pommel recovery list|fetch|verify|where`. Band: face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pommel.app.upstream import recovery
from pommel.app.workspace import Workspace
from pommel.cli.common import complete_version, connections_option, json_option, offline_option
from pommel.cli.output import answer, answered, print_table, reporter
from pommel.settings import format_size


@click.group("recovery")
def recovery_command() -> None:
    """Manage Apple's recovery images, from which macOS is installed."""


@recovery_command.command("list")
@json_option
def list_command() -> None:
    """List the macOS versions, and which of their images are here."""
    found = recovery.listed()
    if answered({"versions": [{**_version(v), "images": [_image_as_dict(i) for i in here]} for v, here in found]}):
        return
    rows_text = [(v.name, v.number, ", ".join(i.version for i in here) or "-", v.notes) for v, here in found]
    print_table(("NAME", "NUMBER", "HERE", ""), rows_text)


@recovery_command.command("fetch")
@click.argument("version", shell_complete=complete_version)
@connections_option
@click.option("--force", is_flag=True, help="Ask Apple even if there is an image here.")
@offline_option
@json_option
def fetch_command(version: str, connections: int, force: bool, offline: Path | None) -> None:
    """Download, verify and unpack the recovery image of macOS VERSION (a name, number or board id).

    It resumes an interrupted download. An image that is already here is not downloaded again.
    """
    image = recovery.fetch(version, offline=offline, connections=connections, force=force, report=reporter())
    _show(image)


@recovery_command.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--chunklist", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="[default: beside FILE]"
)
@json_option
def verify_command(file: Path, chunklist: Path | None) -> None:
    """Check FILE (a BaseSystem.dmg) against its chunklist, which must have Apple's signature."""
    said = recovery.verify(file, chunklist=chunklist, report=reporter())
    answer({"file": str(file), "verified": True, "detail": said}, f"{file}: {said}")


@recovery_command.command("where")
@click.argument("version", required=False, shell_complete=complete_version)
@json_option
def where_command(version: str | None) -> None:
    """Print the folder of the images, or the path of the raw image of VERSION."""
    workspace = Workspace.current()
    if version is None:
        answer({"folder": str(workspace.home.recovery)}, workspace.home.recovery)
        return
    _show(recovery.here(version, workspace=workspace))


def _show(image: Any) -> None:
    if not answered(_image_as_dict(image)):
        click.echo(image.image)
        size = format_size(image.size_bytes)
        signed = "signed by Apple" if image.chunklist else "not verified: no chunklist came with it"
        click.echo(f"macOS {image.version}, {size} on disk, {signed}", err=True)


def _version(version: Any) -> dict[str, Any]:
    boards = [board.board_id for board in version.boards]
    return {
        "name": version.name,
        "major": version.number,
        "title": version.title,
        "note": version.notes,
        "boards": boards,
    }


def _image_as_dict(image: Any) -> dict[str, Any]:
    return {
        "key": image.key,
        "version": image.version,
        "image": str(image.image),
        "dmg": str(image.dmg) if image.dmg else None,
        "verified": image.chunklist is not None,
        "source": image.source,
        "product": image.product,
        "size_bytes": image.size_bytes,
    }
