"""What documents name is there: the tests of the security table, files that links lead to, commands of the README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pommel.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
NAMED_TESTS = sorted(set(re.findall(r"`((?:tests|fuzz)/[\w/.]+(?:::\w+)?)`", (ROOT / "docs/security.md").read_text())))


@pytest.mark.parametrize("named", NAMED_TESTS)
def test_each_test_of_the_security_table_is_there(named: str) -> None:
    path, _, function = named.partition("::")
    assert (ROOT / path).is_file()
    assert function == "" or re.search(rf"^(?:async )?def {function}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_each_row_of_the_security_table_names_one() -> None:
    rows = [line for line in (ROOT / "docs/security.md").read_text().splitlines() if line.startswith("| ")]
    assert len(rows) > 30
    for row in rows:
        assert row.startswith("| Cannot") or re.search(r"\| `(?:tests|fuzz)/[^`]+` \|$", row), row


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_examples_are_commands(document: Path) -> None:
    for word in re.findall(r"^    (?:\./)?pommel ([a-z][a-z-]*)", document.read_text(), re.MULTILINE):
        assert word in COMMANDS, word


def test_the_readme_is_short() -> None:
    """It is what a stranger reads first; a new command goes to docs/commands.md or the page that fits it."""
    assert len((ROOT / "README.md").read_text().split()) <= 900


PROSE = [*DOCUMENTS, *sorted((ROOT / "src" / "pommel").rglob("*.py"))]


@pytest.mark.parametrize("path", PROSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_of_the_project_that_prose_names_are_there(path: Path) -> None:
    """In documents and in comments, docstrings and messages: `room/module.py`, from the project's folder or src/pommel."""
    bases = (ROOT, ROOT / "src", ROOT / "src" / "pommel", path.parent)
    named = set(re.findall(r"(?<![\w/.*~$}-])((?:[a-z_]+/)+[a-z_]+\.py)\b", path.read_text()))
    assert [name for name in sorted(named) if not any((base / name).exists() for base in bases)] == []
