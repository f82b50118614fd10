"""`pommel clock`. Band: face."""

from __future__ import annotations

import click

from pommel.app.guest import clock, clock_rest
from pommel.app.workspace import Workspace
from pommel.cli.common import json_option, name_argument
from pommel.cli.output import answered


@click.command("clock")
@name_argument()
@click.option("--set", "sets", is_flag=True, help="Set it to this host's time, whatever it shows.")
@click.option(
    "--rested", type=click.FloatRange(0), hidden=True, help="Wait for the guest; correct at most these seconds."
)
@json_option
def clock_command(name: str, sets: bool, rested: float | None) -> int:
    """Show the difference between the guest's clock of machine NAME and this host's clock, measured over SSH. Exits
    1 if the clock is wrong.

    After a pause (suspend, sleep, a snapshot with memory, a suspended host) Pommel does --set automatically, but
    only as far as the pause explains the difference; set_clock = false turns that off. Setting the clock needs root
    in the guest, or permission to run `date` with sudo.
    """
    if rested is not None:
        found = clock_rest.after_rest(Workspace.current(), name, rested)
    else:
        found = clock.put_right(name) if sets else clock.look(name)
    if found is None:
        return 0
    if not answered(found.as_dict()):
        was = clock.spell(found.offset_s)
        now = f"it was {was}, and is {clock.spell(found.after_s)} now" if found.after_s is not None else f"it is {was}"
        click.echo(f"{name}: {now}" + (f"; {found.why}" if found.why else ""))
    return 1 if found.off else 0
