"""`pommel doctor [NAME]`. Band: face."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from pommel.app import doctor, support
from pommel.app.doctor import Check
from pommel.cli.common import complete_name, json_option
from pommel.cli.output import coloured, print_json
from pommel.errors import PommelError

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@click.command("doctor")
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--bundle", is_flag=True, help="Write a support archive: the checks, settings, logs, nothing private.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where --bundle writes it.")
@json_option
def doctor_command(name: str | None, bundle: bool, output: Path | None, as_json: bool) -> None:
    """Check this host and machine NAME, and say for each fault what to type. Changes nothing. Exits 1 on a fault.

    Without NAME it is the only machine of pommel.toml, else sonoma.
    """
    if bundle or output:
        now = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        made = support.bundle(output or Path(f"pommel-support-{now}.tar.gz"), name)
        if as_json:
            print_json({"bundle": str(made)})
        else:
            click.echo(made)
            click.echo("have a look at it before you send it: tar -xzOf FILE | less", err=True)
        return
    found: list[Check] = []
    for check in doctor.doctor(name):
        if not as_json:
            _show(check, first=not found or found[-1].group != check.group)
        found.append(check)
    counts = {level: sum(check.level == level for check in found) for level in ("ok", "warn", "fail")}
    if as_json:
        print_json({"checks": [check.as_dict() for check in found], **counts})
    if counts["fail"]:
        first = next(check for check in found if check.level == "fail")
        count = f"{counts['fail']} checks failed" if counts["fail"] > 1 else "1 check failed"
        raise PommelError(f"{count}; the first: {first.text}", hint=first.fix)
    if not as_json:
        click.echo(f"{counts['ok']} checks are well" + (f", {counts['warn']} to look at" if counts["warn"] else ""))


def _show(check: Check, *, first: bool) -> None:
    if first:
        click.echo(coloured(check.group, bold=True))
    mark, colour = _MARKS[check.level]
    click.echo(f"  {coloured(mark, fg=colour)} {check.name}: {check.text}")
    if check.fix:
        click.echo(f"      {coloured('fix:', fg='cyan')} {check.fix}")
