"""`pommel clone|rename|golden|info`. Band: face."""

from __future__ import annotations

from typing import Any

import click

from pommel.app import clones
from pommel.app.info import info
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import print_json, print_pairs, reporter
from pommel.settings import format_size


@click.command("clone")
@name_argument()
@click.argument("new")
@click.option("--linked/--full", default=None, help="Hold only what differs; the base must then stay as it is.  [full]")
@click.option("--keep-identity", is_flag=True, help="Keep UUID, MAC address and serial numbers.")
@click.option("--model", help="The Mac to be, such as iMac20,1.  [that of the base]")
@json_option
def clone_command(
    name: str, new: str, linked: bool | None, keep_identity: bool, model: str | None, as_json: bool
) -> None:
    """Make machine NEW from the stopped machine NAME, with an identity of its own.

    A linked clone is there at once and takes no room; NAME cannot be started or deleted while it has such clones.
    Clones of a golden machine are linked unless you say --full.
    """
    made = clones.clone(name, new, linked=linked, keep_identity=keep_identity, model=model, report=reporter())
    if as_json:
        print_json(info(new))
    else:
        click.echo(f"{new} is made from {name} (ssh on port {made.ssh_port})")


@click.command("rename")
@name_argument()
@click.argument("new")
def rename_command(name: str, new: str) -> None:
    """Call the stopped machine NAME NEW from now on."""
    clones.rename(name, new)
    click.echo(f"{name} is called {new} now")
    click.echo(f"a [machine.{name}] in pommel.toml must be renamed by hand", err=True)


@click.command("golden")
@name_argument()
@click.option("--off", is_flag=True, help="Take the mark off.")
def golden_command(name: str, off: bool) -> None:
    """Mark the stopped machine NAME as a base for clones: it is not started any more, but with --throwaway."""
    clones.golden(name, not off)
    click.echo(f"{name} is {'a machine like any other' if off else 'golden'} now")


@click.command("info")
@name_argument()
@json_option
def info_command(name: str, as_json: bool) -> None:
    """Show all that is known of machine NAME: identity, disks, snapshots, clones, where it came from."""
    told = info(name)
    if as_json:
        print_json(told)
        return
    print_pairs({key: value for key, value in _spelled(told).items() if value})


def _spelled(told: dict[str, Any]) -> dict[str, str]:
    identity = told["identity"]
    disks = [_disk(each) for each in told["disks"]]
    return {
        "name": told["name"],
        "state": told["state"],
        "macOS": told["macos"] or "",
        "upstream": told["upstream"],
        "created": told["created"],
        "clone of": told["clone_of"] or "",
        "golden": "yes" if told["golden"] else "",
        "linked clones": ", ".join(told["linked_clones"]),
        "uuid": identity["uuid"],
        "mac": identity["mac"],
        "model": identity["model"] or "",
        "serial": identity["serial"] or "",
        "board serial": identity["board_serial"] or "",
        "rom": identity["rom"] or "",
        "disks": "; ".join(disks),
        "snapshots": ", ".join(each["tag"] for each in told["snapshots"]),
        "ssh": (f"127.0.0.1:{told['ssh_port']}" if told["ssh_port"] else "its own address") + f" as {told['ssh_user']}",
        "settings": told["config"] or "",
        "folder": told["directory"] or "",
    }


def _disk(told: dict[str, Any]) -> str:
    return f"{told['name']} {format_size(told['virtual_bytes'] or 0)}, {format_size(told['actual_bytes'])} used"
