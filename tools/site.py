"""What the site has beside docs/: the documents of the project's root, and a reference made from the code.

mkdocs calls `on_files` and `on_page_markdown` (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pommel.cli.main import COMMANDS, pommel
from pommel.machine.spec import SETTINGS
from pommel.settings import Setting

ROOT = Path(__file__).parents[1]
FROM_ROOT = {"README.md": "index.md"}
FROM_ROOT |= {name: name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}
_OF_SETTINGS = """\
# Every setting

Keys of a `[machine.NAME]` table in `pommel.toml`. `pommel config NAME` shows each value and where it comes from. A
key is also an environment variable, which counts more than the file: `memory` is `POMMEL_MEMORY`. Where there is no
default, the boot script's own choice stays, or Pommel chooses for this host and says why.

| key | what it is | must be | default |
|---|---|---|---|
"""


def on_files(files: Any, config: Any) -> Any:
    """Add what is not in docs/."""
    from mkdocs.structure.files import File

    for source, place in FROM_ROOT.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text()))
    for place, content in (("reference/commands.md", commands()), ("reference/settings.md", settings())):
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Have links that are right in the repository lead to the same pages of the site."""
    text = re.sub(r"\]\((?:\.\./|docs/)", "](", markdown)
    text = text.replace("](LICENSE)", "](https://spdx.org/licenses/MIT.html)")
    return text.replace("](README.md)", "](index.md)")


def settings() -> str:
    """Every key of `[machine.NAME]`."""
    rows = (f"| `{each.key}` | {_cell(each.help)} | {_cell(_kind(each))} | {_default(each)} |" for each in SETTINGS)
    return _OF_SETTINGS + "\n".join(rows) + "\n"


def _kind(setting: Setting) -> str:
    """What a value must be: the phrase of the parser's own error."""
    try:
        setting.parse(object())
    except ValueError as phrase:
        return str(phrase)
    raise TypeError(f"{setting.key} takes anything")


def _default(setting: Setting) -> str:
    if setting.default is None or setting.default in ((), {}):
        return "–"
    if setting.default in (True, False):
        return f"`{str(setting.default).lower()}`"
    if setting.key == "disk":
        return f"`{setting.default >> 30}G`"
    return f"`{setting.default:g}`" if isinstance(setting.default, float) else f"`{setting.default}`"


def commands() -> str:
    """Every command with its options, by group."""
    lines = ["# Every command", "", "Made from the commands themselves: `pommel COMMAND --help` says the same.", ""]
    context = click.Context(pommel, info_name="pommel")
    for group in dict.fromkeys(entry[2] for entry in COMMANDS.values()):
        lines += [f"## {group}", ""]
        for name in (name for name, entry in COMMANDS.items() if entry[2] == group):
            command = pommel.get_command(context, name)
            if command is None:
                raise LookupError(name)
            lines += _command(command, click.Context(command, info_name=name, parent=context), 3)
    return "\n".join(lines) + "\n"


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}"
    yield ""
    yield f"    {' '.join([context.command_path, *command.collect_usage_pieces(context)])}"
    yield ""
    yield from (
        _escaped(line.strip()) for line in (command.help or command.short_help or "").replace("\b", "").splitlines()
    )
    yield ""
    rows = [record for record in (each.get_help_record(context) for each in command.get_params(context)) if record]
    rows = [row for row in rows if row[1] and not row[0].endswith("--help")]
    if rows:
        yield from ("| option | |", "|---|---|")
        yield from (f"| {_code(words)} | {_cell(_escaped(text))} |" for words, text in rows)
        yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (inner := command.get_command(context, name)) is not None and not inner.hidden:
                yield from _command(inner, click.Context(inner, info_name=name, parent=context), level + 1)


def _code(text: str) -> str:
    """Words as code, in a cell of a table: there, a backslash before a bar stays where backticks are around it."""
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _escaped(text: str) -> str:
    return re.sub(r"([<>*_\[\]])", r"\\\1", text)
