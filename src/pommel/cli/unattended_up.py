"""The options of `pommel up NAME --unattended`, in a separate group of the help. Band: face."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pommel.errors import UsageError

if TYPE_CHECKING:  # not imported, because most calls of `up` install nothing
    from pommel.app.unattended.installing import InstallWish, Plan

F = TypeVar("F", bound=Callable[..., Any])
_READ = click.Path(dir_okay=False, exists=True, path_type=Path)


class _Grouped(click.Option):
    """An option of --unattended."""


_OPTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("--unattended", "unattended", {"is_flag": True, "help": "Install macOS without a person, or go on with it."}),
    (
        "--accept-apple-licence",
        "licence",
        {"is_flag": True, "help": "You accept Apple's licence for macOS (https://www.apple.com/legal/sla/)."},
    ),
    ("--user", "user", {"help": "The user that is made, such as ada."}),
    ("--full-name", "full_name", {"help": "The user's full name.  [default: the user name]"}),
    ("--password-file", "password_file", {"type": _READ, "metavar": "FILE", "help": "A file with the password."}),
    (
        "--ssh-key",
        "ssh_keys",
        {
            "type": _READ,
            "multiple": True,
            "metavar": "FILE",
            "help": "A public key, in place of a password. Can be repeated.",
        },
    ),
    ("--locale", "locale", {"help": "Language and region, such as de_DE."}),
    ("--keyboard", "keyboard", {"help": "Keyboard layout, such as de."}),
    ("--timezone", "timezone", {"help": "Time zone, such as Europe/Berlin."}),
    (
        "--recipe",
        "recipe",
        {"metavar": "FILE", "help": "The steps, if not those of `pommel recipe show macos-unattended`."},
    ),
    ("--from", "begin", {"metavar": "STATE", "help": "Begin with this state of the recipe."}),
    ("--full-installer", "full", {"is_flag": True, "help": "Install from Apple's full installer, which is here."}),
    ("--no-snapshot", "no_snapshot", {"is_flag": True, "help": "Make no snapshot `installed` before the first start."}),
    (
        "--report",
        "report",
        {
            "type": click.Path(dir_okay=False, path_type=Path),
            "metavar": "FILE",
            "help": "Write what happened to this file, without what is private.",
        },
    ),
)
_OF_ACCOUNT = ("full_name", "password_file", "ssh_keys", "locale", "keyboard", "timezone")


class GroupedCommand(click.Command):
    """A command whose help has the options of --unattended at the end, with their own title."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": [], "Installing macOS without a person": []}
        usual, grouped = groups.values()
        for each in self.get_params(ctx):
            if (told := each.get_help_record(ctx)) is not None:
                (grouped if isinstance(each, _Grouped) else usual).append(told)
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def unattended_options(command: F) -> F:
    """All options of --unattended."""
    for words, name, more in reversed(_OPTIONS):
        command = click.option(words, name, cls=_Grouped, **more)(command)
    return command


def unattended_wish(options: dict[str, Any]) -> InstallWish | None:
    """The values of the options, which are removed from `options`; None: without --unattended.

    Raises:
        UsageError: an option needs another one.
    """
    given = {name: options.pop(name) for _, name, _ in _OPTIONS}
    spelled = {name: words for words, name, _ in _OPTIONS}
    if not given.pop("unattended"):
        if lone := next((name for name, value in given.items() if value), None):
            raise UsageError(
                f"{spelled[lone]} is an option of an installation without a person", hint="add --unattended"
            )
        return None
    from pommel.app.recipe.run import Begin
    from pommel.app.unattended.installing import InstallWish
    from pommel.app.unattended.script_disk import Account

    of_account = {name: given[name] for name in _OF_ACCOUNT}
    user = given["user"]
    if user is None and (lone := next((name for name, value in of_account.items() if value), None)):
        raise UsageError(f"{spelled[lone]} needs to know the user", hint="add --user NAME")
    return InstallWish(
        Account(user, **of_account) if user is not None else None,
        given["licence"],
        given["recipe"],
        given["full"],
        not given["no_snapshot"],
        Begin(given["begin"]),
        given["report"],
    )


def plan_as_dict(plan: Plan) -> dict[str, Any]:
    """The installation as one JSON object."""
    from pommel.app.recipe import shown

    states = [shown.as_dict(state) for state in plan.recipe.states]
    return {"title": plan.recipe.title, "begin": plan.way.begin, "why": plan.way.why, "states": states}


def plan_lines(plan: Plan) -> Iterator[str]:
    """The installation as lines for people."""
    from pommel.app.recipe import shown

    yield f"would then carry out {plan.recipe.title!r}, beginning with {plan.way.begin} ({plan.way.why}):"
    yield from shown.lines(plan.recipe)
