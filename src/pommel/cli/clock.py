"""`pommel clock`. Band: face."""

from __future__ import annotations

import click

from pommel.app import clock, clock_rest
from pommel.app.workspace import Workspace
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import print_json


@click.command("clock")
@name_argument()
@click.option("--set", "sets", is_flag=True, help="Set it to this host's, whatever it shows.")
@click.option("--rested", type=click.FloatRange(0), hidden=True, help="Wait for the guest; give back these seconds.")
@json_option
def clock_command(name: str, sets: bool, rested: float | None, as_json: bool) -> int:
    """Say how far the clock of machine NAME's guest is from this host's, measured over SSH; exits 1 where it is off.

    After a rest (suspend, sleep, a snapshot with memory, a suspended host) Pommel does --set by itself, as far as the
    rest can have taken the time; set_clock = false turns that off. To set a clock takes root in the guest, or its
    leave by sudo to call `date`.
    """
    if rested is not None:
        found = clock_rest.after_rest(Workspace.current(), name, rested)
    else:
        found = clock.put_right(name) if sets else clock.look(name)
    if found is None:
        return 0
    if as_json:
        print_json(found.as_dict())
    else:
        was = clock.spell(found.offset_s)
        now = f"it was {was}, and is {clock.spell(found.after_s)} now" if found.after_s is not None else f"it is {was}"
        click.echo(f"{name}: {now}" + (f"; {found.why}" if found.why else ""))
    return 1 if found.off else 0
