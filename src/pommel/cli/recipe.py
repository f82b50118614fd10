"""`pommel recipe`. Band: face."""

from __future__ import annotations

from typing import Any

import click

from pommel.app.recipe import files, run, shown
from pommel.cli.common import dry_run_option, json_option, name_argument
from pommel.cli.output import answer, answered, reporter
from pommel.errors import UsageError


@click.group("recipe")
def recipe_command() -> None:
    """Run a recipe with a machine: wait for what its screen shows, press keys, type, start and stop it.

    A recipe is a TOML file. `pommel recipe show NAME > my.toml` copies one that comes with Pommel.
    """


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    names = [click.shell_completion.CompletionItem(name) for name in files.bundled() if name.startswith(incomplete)]
    return [*names, click.shell_completion.CompletionItem(incomplete, type="file")]


file_argument = click.argument("file", shell_complete=_complete)


@recipe_command.command("list")
@json_option
def list_command() -> None:
    """List the recipes that come with Pommel."""
    found = [(name, files.load(name).recipe) for name in files.bundled()]
    if answered({"recipes": [{"name": name, "title": recipe.title} for name, recipe in found]}):
        return
    for name, recipe in found:
        click.echo(f"{name}  {recipe.title}")


@recipe_command.command("show")
@click.argument("recipe", shell_complete=_complete)
def show_command(recipe: str) -> None:
    """Print the text of RECIPE, one that comes with Pommel."""
    click.echo(files.text_of(recipe), nl=False)


@recipe_command.command("check")
@file_argument
@json_option
def check_command(file: str) -> None:
    """Check the recipe FILE without running it."""
    recipe = files.load(file).recipe
    answer(
        {"file": file, "title": recipe.title, "states": [shown.as_dict(state) for state in recipe.states]},
        f"{file}: {recipe.title}: {len(recipe.states)} states, no fault found",
    )


@recipe_command.command("run")
@name_argument()
@file_argument
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A value for the recipe. Can be repeated.")
@click.option("--from", "begin", metavar="STATE", help="Begin with this state.")
@click.option("--restart", is_flag=True, help="Begin with the first state, also where an earlier run has stopped.")
@dry_run_option
@json_option
def run_command(name: str, file: str, given: tuple[str, ...], begin: str | None, restart: bool, dry_run: bool) -> None:
    """Run the recipe FILE with machine NAME. A stopped run continues with the state that it had reached.

    FILE is a TOML file or the name of a recipe that comes with Pommel. Ctrl-C stops the run and leaves the machine
    as it is.
    """
    values = _values(given)
    wish = run.Begin(begin, restart)
    if dry_run:
        recipe, way = run.plan(name, file, values=values, begin=wish)
        states = [shown.as_dict(state) for state in recipe.states]
        if answered({"name": name, "title": recipe.title, "begin": way.begin, "why": way.why, "states": states}):
            return
        click.echo(f"would begin with {way.begin} ({way.why})")
        for line in shown.lines(recipe):
            click.echo(line)
        return
    ran = run.run(name, file, values=values, begin=wish, report=reporter())
    answer(ran.as_dict(), f"{name}: {ran.title}: done in {ran.seconds:.0f} s")


def _values(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [word.partition("=") for word in given]
    if wrong := next((key for key, equals, _ in pairs if not key or not equals), None):
        raise UsageError(f"--set {wrong}: a value is missing", hint="write --set NAME=VALUE")
    return {key: value for key, _, value in pairs}
