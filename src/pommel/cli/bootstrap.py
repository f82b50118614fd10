"""`pommel bootstrap|setup`. Band: face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pommel.app.host import setup
from pommel.app.host.setup import StepOutcome
from pommel.app.upstream import bootstrap, overlay
from pommel.app.workspace import Workspace
from pommel.cli.common import complete_name, consent_to, dry_run_option, json_option, offline_option, yes_option
from pommel.cli.output import answered, coloured, reporter, wants_json
from pommel.cli.overlay import print_standing
from pommel.errors import PommelError

_MARKS = {"done": ("✓", "green"), "todo": ("·", "yellow"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


@click.command("bootstrap")
@click.option("--no-setup", is_flag=True, help="Do not run setup: do not change the host and the machine.")
@click.option(
    "--update", is_flag=True, help="Update the upstream to the pinned commit, and apply patches and files again."
)
@offline_option
@yes_option
@dry_run_option
@json_option
def bootstrap_command(no_setup: bool, update: bool, offline: Path | None, yes: bool, dry_run: bool) -> None:
    """Clone the upstream at its pinned commit, apply patches/ and files/ to it, then run setup.

    It is safe to run it again: it prints what changed. If a patch conflicts, it stops and applies nothing. It needs
    no network if the commit was already downloaded.
    """
    workspace = Workspace.current()
    if dry_run:
        _dry_run(workspace, update, no_setup)
        return
    report = reporter()
    done = bootstrap.bootstrap(workspace, update=update, consent=consent_to(yes), report=report)
    standing = overlay.with_argv(workspace, done.standing)
    if not wants_json():
        print_standing(standing)
        for line in done.changes or ("nothing to change",):
            click.echo(f"  {line}", err=True)
    outcomes = [] if no_setup else _run(setup.setup(None, workspace=workspace, **_how(yes, offline)))
    told = {**standing.as_dict(), "changes": list(done.changes)}
    answered({**told, "setup": [outcome.as_dict() for outcome in outcomes]})
    _finish(outcomes)


@click.command("setup")
@click.argument("name", required=False, shell_complete=complete_name)
@click.option("--skip", multiple=True, type=click.Choice(setup.KEYS), help="Skip this step.")
@click.option("--only", multiple=True, type=click.Choice(setup.KEYS), help="Run only this step.")
@offline_option
@yes_option
@dry_run_option
@json_option
def setup_command(
    name: str | None, skip: tuple[str, ...], only: tuple[str, ...], offline: Path | None, yes: bool, dry_run: bool
) -> None:
    """Prepare this host and machine NAME in seven steps. A step that is already done is not repeated.

    Without NAME, the only machine in pommel.toml is used, or else sonoma. Commands that need root are shown, and
    Pommel asks before it runs them.
    """
    steps = setup.setup(name, skip=skip, only=only, dry_run=dry_run, **_how(yes, offline))
    outcomes = _run(steps)
    answered({"dry_run": dry_run, "steps": [outcome.as_dict() for outcome in outcomes]})
    _finish(outcomes)


def _dry_run(workspace: Workspace, update: bool, no_setup: bool) -> None:
    steps = bootstrap.plan(workspace, update=update)
    if not wants_json():
        for what, why, needed in steps:
            click.echo(f"{'would' if needed else 'done '}  {what}\n         {why}")
    outcomes = [] if no_setup else _run(setup.setup(None, workspace=workspace, dry_run=True))
    rows = [{"what": what, "reasons": [why], "needed": needed} for what, why, needed in steps]
    answered({"dry_run": True, "steps": rows, "setup": [outcome.as_dict() for outcome in outcomes]})


def _how(yes: bool, offline: Path | None) -> dict[str, Any]:
    return {"offline": offline, "consent": consent_to(yes), "report": reporter()}


def _run(outcomes: Any) -> list[StepOutcome]:
    found = []
    for outcome in outcomes:
        found.append(outcome)
        if not wants_json():
            _show(outcome)
    return found


def _show(outcome: StepOutcome) -> None:
    mark, colour = _MARKS[outcome.look.state]
    done = " (done now)" if outcome.changed and outcome.look.state == "done" else ""
    click.echo(f"{coloured(mark, fg=colour)} {outcome.number}/7 {outcome.title}: {outcome.look.text}{done}")
    if outcome.look.state == "todo":
        for line in outcome.look.details:
            click.echo(f"        {line}")
    if outcome.look.hint and outcome.look.state != "done":
        click.echo(f"        {coloured('hint:', fg='cyan')} {outcome.look.hint}")


def _finish(outcomes: list[StepOutcome]) -> None:
    failed = [outcome for outcome in outcomes if outcome.look.state == "fail"]
    if failed:
        raise PommelError(
            f"step {failed[0].number} ({failed[0].title}) failed: {failed[0].look.text}",
            hint=failed[0].look.hint or "fix this, then run the same command again: finished steps are not repeated",
        )
