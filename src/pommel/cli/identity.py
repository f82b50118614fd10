"""`pommel identity`. Band: face."""

from __future__ import annotations

from typing import Any

import click

from pommel.app.machine import identities
from pommel.cli.common import confirm, dry_run_option, json_option, name_argument, yes_option
from pommel.cli.output import answer, answered, print_pairs, reporter
from pommel.errors import UsageError


@click.command("identity")
@name_argument()
@click.option("--show", is_flag=True, help="Show the numbers.  [default]")
@click.option("--new", is_flag=True, help="Give the stopped machine new numbers, a new UUID and a new MAC address.")
@click.option("--model", help="The Mac model, such as iMac20,1; with --new.")
@yes_option
@dry_run_option
@json_option
def identity_command(name: str, show: bool, new: bool, model: str | None, yes: bool, dry_run: bool) -> None:
    """Show the identity of the Mac NAME: model, serial number, board serial, ROM, UUID.

    A new Mac gets its own numbers before its first start and keeps them. They have the right format, but Apple has
    not issued them to any real Mac. To change this, set `identity` in pommel.toml: "upstream" for the numbers on
    the boot disk, or a table with your own numbers.

    --new gives the Mac new numbers, or those of `identity` if that is a table. Users who are signed in to Apple's
    services are signed out.
    """
    if show and new:
        raise UsageError("--show and --new cannot be used together")
    if not new and (model is not None or dry_run):
        raise UsageError("--model and --dry-run need --new", hint=f"pommel identity {name} --new")
    if new:
        if not dry_run:
            question = f"Give {name} new numbers? Apple's services will see it as a different Mac."
            confirm(question, yes=yes, typed=f"pommel identity {name} --new --yes")
        made = identities.change(name, model=model, dry_run=dry_run, report=reporter())
        if dry_run:
            what = f"its own numbers as {made.model}" if made.model else "the numbers of its boot disk"
            answer(
                {"name": name, "dry_run": True, "model": made.model},
                f"{name} would get {what}, a new UUID and a new MAC address",
            )
            return
    told = identities.show(name)
    if not answered(told):
        print_pairs({key: value for key, value in _fields(told).items() if value})


def _fields(told: dict[str, Any]) -> dict[str, str]:
    return {
        "name": told["name"],
        "model": told["model"] or "",
        "serial": told["serial"] or "",
        "board serial": told["board_serial"] or "",
        "rom": told["rom"] or "",
        "uuid": told["uuid"],
        "mac": told["mac"],
        "from": told["where"] or told["source"],
        "note": told["public"] or told["problem"] or "",
    }
