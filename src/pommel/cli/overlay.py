"""`pommel init|overlay`: the config repo, and its changes of the upstream. Band: face."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from pommel.app.upstream import config_repo, overlay
from pommel.app.workspace import Workspace
from pommel.cli.common import complete_name, complete_version, dry_run_option, json_option
from pommel.cli.output import answered, coloured, print_pairs, reporter
from pommel.paths import here


@click.command("init")
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path), metavar="[DIR]")
@click.option(
    "--macos", default="sonoma", show_default=True, shell_complete=complete_version, help="The macOS of its machine."
)
@click.option("--name", help="The name of its machine.  [default: the macOS]")
@dry_run_option
@json_option
def init_command(folder: Path | None, macos: str, name: str | None, dry_run: bool) -> None:
    """Create a config repo in DIR (default: here): pommel.toml, patches/, files/, and a git repository.

    Existing files are not changed.
    """
    made = config_repo.init(folder or here(), macos=macos, name=name, dry_run=dry_run, report=reporter())
    if answered({"folder": str(made.folder), "machine": made.machine, "written": made.written, "git": made.git}):
        return
    word = "would write" if dry_run else "wrote"
    for file in made.written:
        click.echo(f"{word} {made.folder / file}")
    if made.git:
        click.echo(f"{'would create' if dry_run else 'began'} a git repository in {made.folder}")
    if not dry_run:
        where = f"cd {made.folder} && " if made.folder != here() else ""
        click.echo(f"next: {where}pommel bootstrap && pommel up {made.machine}", err=True)


@click.group("overlay")
def overlay_command() -> None:
    """Show your patches and files for the upstream: their state, and what they change."""


@overlay_command.command("status")
@click.option("--fetch", is_flag=True, help="Fetch the upstream's newest state first.")
@json_option
def status_command(fetch: bool) -> None:
    """Show the commit of the upstream's checkout, and each patch and file with its state."""
    workspace = Workspace.current()
    standing = overlay.with_argv(workspace, overlay.status(workspace, fetch=fetch))
    if not answered(standing.as_dict()):
        print_standing(standing)


@overlay_command.command("diff")
@click.argument("name", required=False, shell_complete=complete_name)
@json_option
def diff_command(name: str | None) -> None:
    """Show what Pommel's rules change in the upstream's QEMU command line for machine NAME, and why."""
    workspace = Workspace.current()
    name = name or workspace.default_name()
    planned, rows = overlay.argv_diff(workspace, name)
    changes = [{"state": r.state, "before": r.before, "after": _after(r), "reason": r.reason} for r in rows]
    if answered({"name": name, "script": planned.spec.boot_script, "changes": changes}):
        return
    click.echo(coloured(f"--- {planned.captured.cwd / planned.spec.boot_script}", bold=True))
    click.echo(coloured(f"+++ {name}", bold=True))
    for row in rows:
        click.echo(coloured(f"# {row.reason}", fg="cyan"))
        if row.before is not None:
            click.echo(coloured(f"-{row.before}", fg="red"))
        if (after := _after(row)) is not None:
            click.echo(coloured(f"+{after}", fg="green"))


def print_standing(standing: overlay.OverlayStanding) -> None:
    """Print the state of upstream and overlay, as pairs and lists."""
    seen = standing.upstream
    print_pairs({"upstream": standing.url, "checkout": str(standing.checkout), **_commits(seen)})
    for kind, names in (("modified", seen.modified), ("missing", seen.missing), ("wrong hash", seen.unverified)):
        for name in names:
            click.echo(f"  {coloured(kind, fg='red')}  {name}")
    if standing.overlay is None:
        return
    for patch in standing.overlay.patches:
        said = patch.state.value + (", changed since" if patch.outdated else ", dropped since" if patch.dropped else "")
        click.echo(f"  {_state(said)}  patches/{patch.name}")
        _print_argv(standing, f"patches/{patch.name}")
        for place in patch.places:
            click.echo(f"      {place.file}" + (f":{place.line}" if place.line else "") + f": {place.why}")
        for name in patch.edited:
            words = ["git", "-C", str(standing.checkout), "diff", "--", name]
            click.echo(f"      {name} was edited in the checkout: {shlex.join(words)}")
        if patch.three_way is not None and not patch.edited:
            click.echo(f"      three-way: {patch.three_way.value}")
    for file in standing.overlay.files:
        replaces = " (upstream has one too)" if file.replaces else ""
        click.echo(f"  {_state(file.state.value)}  files/{file.name}{replaces}")
        _print_argv(standing, f"files/{file.name}")
    _print_edits(standing)


def _print_argv(standing: overlay.OverlayStanding, origin: str) -> None:
    """Print the changes of a patch or a file in QEMU's arguments, for each script with changes."""
    for changes in standing.argv:
        for each in changes.of(origin):
            click.echo(f"      {changes.script}: {each}")
    known = [changes for changes in standing.argv if not changes.unknown]
    if known and not any(changes.of(origin) for changes in known):
        click.echo("      changes nothing in QEMU's arguments")


def _print_edits(standing: overlay.OverlayStanding) -> None:
    """Print other changes of the arguments than by patches and files, and the scripts for which they are unknown."""
    for changes in standing.argv:
        laid = ("patches/", "files/")
        for each in (each for each in changes.differences if not each.origin.startswith(laid)):
            click.echo(f"  {coloured('edited  ', fg='yellow')}  {each.origin}\n      {changes.script}: {each}")
        if changes.unknown:
            click.echo(f"  {coloured('unknown ', fg='yellow')}  {changes.script}: {changes.unknown}")


def _commits(seen: Any) -> dict[str, str]:
    if seen.commit is None:
        return {"pinned": seen.pinned, "actual": "not cloned yet: pommel bootstrap"}
    told = {"pinned": seen.pinned, "actual": "the same" if seen.at_pin else f"{seen.commit}: pommel bootstrap --update"}
    if seen.behind is None:
        told["drift"] = "unknown: pommel overlay status --fetch"
    elif seen.force_pushed:
        told["drift"] = (
            f"upstream rewrote its history: {seen.behind} commits there are not here, {seen.ahead} here not there"
        )
    else:
        told["drift"] = f"upstream has {seen.behind} newer commits" if seen.behind else "none, as last fetched"
    return told


def _state(word: str) -> str:
    colour = "green" if word in ("applied", "placed") else "red" if word in ("conflict", "modified") else "yellow"
    return coloured(f"{word:<8}", fg=colour)


def _after(row: Any) -> str | None:
    return None if row.state == "removed" else row.argument
