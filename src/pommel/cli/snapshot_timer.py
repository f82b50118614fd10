"""`pommel snapshot due|prune|timer`: snapshots that machines get by themselves. Band: face."""

from __future__ import annotations

import click

from pommel.app.disk import snapshot_due, snapshot_timer
from pommel.app.disk.snapshot_due import DueOutcome, DueSnapshot
from pommel.app.workspace import Workspace
from pommel.cli.common import dry_run_option, json_option, name_argument
from pommel.cli.output import answer, answered, print_pairs, reporter, wants_json


@click.command("due")
@name_argument(required=False)
@dry_run_option
@json_option
def due_command(name: str | None, dry_run: bool) -> int:
    """Save machine NAME if a snapshot is due by its `snapshots` setting; without NAME, all machines that have this
    setting.

    Run it by a timer or cron, as often as you like: it makes up for missed snapshots. A machine that has not
    changed is not saved again. If there are more than `keep` snapshots, the oldest ones made by this command are
    deleted, and no others.
    """
    done = []
    for each in snapshot_due.due(name, dry_run=dry_run, report=reporter()):
        done.append(each)
        if not wants_json():
            click.echo(f"{each.name}: {_outcome_text(each)}")
    rows = [{**each.as_dict(), "deleted": list(each.deleted)} for each in done]
    if not answered({"machines": rows, "dry_run": dry_run}) and not done:
        click.echo('no machine has a `snapshots` setting, such as { every = "1d", keep = 7 }', err=True)
    return 1 if any(each.outcome is DueOutcome.FAILED for each in done) else 0


@click.command("prune")
@name_argument()
@click.option("--keep", type=click.IntRange(1), help="How many of the newest to keep.  [default: the setting]")
@dry_run_option
@json_option
def prune_command(name: str, keep: int | None, dry_run: bool) -> None:
    """Delete older automatic snapshots of machine NAME. Snapshots that you made yourself stay."""
    deleted = snapshot_due.prune(name, keep=keep, dry_run=dry_run, report=reporter())
    if answered({"name": name, "deleted": deleted, "dry_run": dry_run}):
        return
    if deleted:
        click.echo(f"{name}: {_deleted(deleted, dry_run)}")
    else:
        click.echo(f"{name}: nothing to delete")


@click.group("timer")
def timer_command() -> None:
    """Save machines automatically with a systemd timer: one timer for all machines."""


@timer_command.command("install")
@click.option("--no-enable", is_flag=True, help="Write the units, but do not start or enable them.")
@dry_run_option
@json_option
def install_command(no_enable: bool, dry_run: bool) -> None:
    """Write a systemd user timer that checks each hour which machines are due, and start it."""
    if dry_run:
        for path, text in snapshot_timer.texts(Workspace.current()).items():
            if not answered({"unit": str(path), "text": text}):
                click.echo(f"would write {path}:", err=True)
                click.echo(text)
        return
    made = snapshot_timer.install(enable=not no_enable, report=reporter())
    answer({"unit": str(made.path), "enabled": made.enabled}, made.path)


@timer_command.command("remove")
@json_option
def remove_command() -> None:
    """Remove the timer. The snapshots stay."""
    path = snapshot_timer.remove(report=reporter())
    answer({"unit": str(path), "removed": True}, f"removed {path}")


@timer_command.command("status")
@json_option
def status_command() -> None:
    """Show whether the timer is installed, and whether systemd runs it."""
    workspace = Workspace.current()
    path, active = snapshot_timer.standing(workspace)
    if not answered({"unit": str(path), "installed": snapshot_timer.is_installed(workspace), "active": active}):
        print_pairs({"unit": str(path), "systemd": active})


def _outcome_text(done: DueSnapshot) -> str:
    gone = f"; {_deleted(list(done.deleted), done.outcome is DueOutcome.WOULD_SAVE)}" if done.deleted else ""
    next_one = f", next at {done.next[:16].replace('T', ' ')}" if done.next else ""
    match done.outcome:
        case DueOutcome.SAVED:
            return f"{done.tag} is saved" + (f" ({done.why})" if done.why else "") + gone
        case DueOutcome.WOULD_SAVE:
            return f"{done.tag} would be saved{gone}"
        case DueOutcome.UNCHANGED:
            return f"it has not changed since its last snapshot{next_one}"
        case DueOutcome.NOT_DUE:
            return f"it is not due{next_one}{gone}"
        case _:
            return f"{done.outcome}: {done.why}"


def _deleted(tags: list[str], dry_run: bool) -> str:
    which = ", ".join(tags)
    return f"{which} would be deleted" if dry_run else f"{which} {'is' if len(tags) == 1 else 'are'} deleted"
