"""What there is to say of every command and every setting, read from the code: for the site and for the man pages.

Commands are click's own; a setting's kind is the phrase of its parser's error. Needs pommel to be importable.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from examples import OF_SETTINGS

from pommel import __version__
from pommel.cli.main import COMMANDS, pommel
from pommel.machine.spec import SETTINGS
from pommel.settings import Setting

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Command:
    """A command: `pommel snapshot save`, how it is called, its help as click has it, its options, its own commands."""

    path: str
    usage: str
    help: str
    options: tuple[tuple[str, str], ...]
    inner: tuple[Command, ...] = ()

    def all(self) -> Iterator[Command]:
        """This command and those below it."""
        yield self
        for each in self.inner:
            yield from each.all()


@dataclass(frozen=True, slots=True)
class Key:
    """A setting: its key, what it is for, what it must be, its default as pommel.toml has it (if any), an example."""

    name: str
    help: str
    kind: str
    default: str | None
    env: str
    example: str


def groups() -> Mapping[str, tuple[Command, ...]]:
    """Every command, by the group that `pommel --help` has it in."""
    context = click.Context(pommel, info_name="pommel")
    found: dict[str, tuple[Command, ...]] = {}
    for name, (_, _, group) in COMMANDS.items():
        command = pommel.get_command(context, name)
        if command is None:
            raise LookupError(name)
        made = _command(command, click.Context(command, info_name=name, parent=context))
        found[group] = (*found.get(group, ()), made)
    return found


def settings() -> tuple[Key, ...]:
    """Every key of `[machine.NAME]`."""
    return tuple(
        Key(each.key, each.help, _kind(each), _default(each), each.env, OF_SETTINGS[each.key]) for each in SETTINGS
    )


def released() -> tuple[str, str]:
    """The version, and the day in CHANGELOG.md that it is of.

    Raises:
        LookupError: the changelog has no heading for this version.
    """
    heading = re.search(
        rf"^## {re.escape(__version__)}, (\d{{4}}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    if heading is None:
        raise LookupError(f"CHANGELOG.md has no line such as: ## {__version__}, 2026-11-30")
    return __version__, heading[1]


def _command(command: click.Command, context: click.Context) -> Command:
    rows = [record for record in (each.get_help_record(context) for each in command.get_params(context)) if record]
    inner = []
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (one := command.get_command(context, name)) is not None and not one.hidden:
                inner.append(_command(one, click.Context(one, info_name=name, parent=context)))
    return Command(
        context.command_path,
        " ".join([context.command_path, *command.collect_usage_pieces(context)]),
        inspect.cleandoc(command.help or command.short_help or ""),
        tuple((words, text) for words, text in rows if text and not words.endswith("--help")),
        tuple(inner),
    )


def _kind(setting: Setting) -> str:
    """What a value must be: the phrase of the parser's own error."""
    try:
        setting.parse(object())
    except ValueError as phrase:
        return str(phrase)
    raise TypeError(f"{setting.key} takes anything")


def _default(setting: Setting) -> str | None:
    if setting.default is None or setting.default in ((), {}):
        return None
    if setting.default in (True, False):
        return str(setting.default).lower()
    if setting.key == "disk":
        return f"{setting.default >> 30}G"
    return f"{setting.default:g}" if isinstance(setting.default, float) else str(setting.default)
