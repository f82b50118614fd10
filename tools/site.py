"""What the site has beside docs/: the documents of the project's root, and a reference made from the code.

mkdocs calls `on_files` and `on_page_markdown` (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import reference

ROOT = Path(__file__).parents[1]
FROM_ROOT = {"README.md": "index.md"}
FROM_ROOT |= {name: name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}
_OF_SETTINGS = """\
# Every setting

Keys of a `[machine.NAME]` table in `pommel.toml`. `pommel config NAME` shows each value and where it comes from. A
key is also an environment variable, which counts more than the file: `memory` is `POMMEL_MEMORY`. Where there is no
default, the boot script's own choice stays, or Pommel chooses for this host and says why.

| key | what it is | must be | default | example |
|---|---|---|---|---|
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
    rows = (
        f"| `{each.name}` | {_cell(each.help)} | {_cell(each.kind)} | {f'`{each.default}`' if each.default else '–'} "
        f"| {_code(f'{each.name} = {each.example}')} |"
        for each in reference.settings()
    )
    return _OF_SETTINGS + "\n".join(rows) + "\n"


def commands() -> str:
    """Every command with its options, by group."""
    lines = ["# Every command", "", "Made from the commands themselves: `pommel COMMAND --help` says the same.", ""]
    for group, found in reference.groups().items():
        lines += [f"## {group}", ""]
        for command in found:
            lines += _command(command, 3)
    return "\n".join(lines) + "\n"


def _command(command: reference.Command, level: int) -> Iterator[str]:
    yield f"{'#' * level} {command.path}"
    yield ""
    yield f"    {command.usage}"
    yield ""
    yield from (_escaped(line.strip()) for line in command.help.replace("\b", "").splitlines())
    yield ""
    if command.options:
        yield from ("| option | |", "|---|---|")
        yield from (f"| {_code(words)} | {_cell(_escaped(text))} |" for words, text in command.options)
        yield ""
    for inner in command.inner:
        yield from _command(inner, level + 1)


def _code(text: str) -> str:
    """Words as code, in a cell of a table: there, a backslash before a bar stays where backticks are around it."""
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _escaped(text: str) -> str:
    return re.sub(r"([<>*_\[\]])", r"\\\1", text)
