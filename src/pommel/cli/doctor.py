"""`pommel doctor [NAME]`. Band: face."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from pommel.app.argv import passthrough as passthrough_app
from pommel.app.host import doctor, support
from pommel.app.host.doctor import Check
from pommel.app.machine import machines
from pommel.app.machine import stuck as stuck_app
from pommel.cli.common import complete_name, json_option
from pommel.cli.output import answered, coloured, reporter, wants_json
from pommel.errors import PommelError, UsageError

_MARKS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@click.command("doctor")
@click.argument("name", required=False, shell_complete=complete_name)
@click.option(
    "--bundle", is_flag=True, help="Write a support archive: checks, settings and logs, without private data."
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file that --bundle writes.")
@click.option(
    "--stuck", is_flag=True, help="Watch the running machine NAME, and tell whether it works, is idle, or hangs."
)
@click.option("--seconds", type=click.FloatRange(2), default=20.0, show_default=True, help="How long --stuck watches.")
@click.option("--passthrough", is_flag=True, help="Check whether a guest can use one of this host's graphics cards.")
@json_option
def doctor_command(
    name: str | None, bundle: bool, output: Path | None, stuck: bool, seconds: float, passthrough: bool
) -> None:
    """Check this host and machine NAME, and print a command that fixes each problem. Changes nothing. Exits 1 if a
    check fails.

    Without NAME, the only machine in pommel.toml is used, or else sonoma.
    """
    if passthrough:
        _passthrough(name)
        return
    if stuck:
        _stuck(name, seconds)
        return
    if bundle or output:
        now = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        made = support.bundle(output or Path(f"pommel-support-{now}.tar.gz"), name)
        if not answered({"bundle": str(made)}):
            click.echo(made)
            click.echo("read it before you send it: tar -xzOf FILE | less", err=True)
        return
    found: list[Check] = []
    for check in doctor.doctor(name):
        if not wants_json():
            _show(check, first=not found or found[-1].group != check.group)
        found.append(check)
    counts = {level: sum(check.level == level for check in found) for level in ("ok", "warn", "fail")}
    answered({"checks": [check.as_dict() for check in found], "counts": counts})
    if counts["fail"]:
        first = next(check for check in found if check.level == "fail")
        count = f"{counts['fail']} checks failed" if counts["fail"] > 1 else "1 check failed"
        raise PommelError(f"{count}; the first: {first.text}", hint=first.fix)
    if not wants_json():
        click.echo(f"{counts['ok']} checks passed" + (f", {counts['warn']} with warnings" if counts["warn"] else ""))


def _stuck(name: str | None, seconds: float) -> None:
    if name is None:
        raise UsageError("--stuck needs the name of a machine", hint="pommel doctor NAME --stuck")
    seen = machines.status(name).state
    verdict = stuck_app.look(name, seconds=seconds, installing=seen == "installing", report=reporter())
    told = {
        "name": name,
        "verdict": str(verdict.kind),
        "evidence": list(verdict.evidence),
        "advice": verdict.advice,
    }
    if not answered(told):
        click.echo(f"{name}: {verdict.kind}")
        for line in (*verdict.evidence, *([verdict.advice.replace("NAME", name)] if verdict.advice else ())):
            click.echo(f"  {line}")
    if verdict.kind == "hung":
        raise PommelError(f"{name} seems to hang", hint=f"pommel restart {name} --force")


def _show(check: Check, *, first: bool) -> None:
    if first:
        click.echo(coloured(check.group, bold=True))
    mark, colour = _MARKS[check.level]
    click.echo(f"  {coloured(mark, fg=colour)} {check.name}: {check.text}")
    if check.fix:
        click.echo(f"      {coloured('fix:', fg='cyan')} {check.fix}")


def _passthrough(name: str | None) -> None:
    told = passthrough_app.look(name)
    if answered(told):
        return
    click.echo(f"host: {told['host']}")
    _findings(told["findings"])
    for card in told["cards"]:
        mark = "ready" if card["can_be_given"] else "not ready"
        click.echo(f"{card['pci_address']} {card['description'] or card['ids']}: {mark}")
        _findings(card["findings"])
        click.echo(f"    in [machine.NAME] of pommel.toml: {card['setting']}")
    if not told["cards"]:
        click.echo("this host has no graphics card on its PCI bus")
    for address in told["not_there"]:
        click.echo(f"{address}: {name} uses it, but this host has no such device")


def _findings(findings: list[dict[str, str]]) -> None:
    for each in findings:
        mark, colour = _MARKS[each["level"]]
        click.echo(f"  {coloured(mark, fg=colour)} {each['name']}: {each['text']}")
        if each["fix"] and each["level"] != "ok":
            click.echo(f"      {each['fix']}")
