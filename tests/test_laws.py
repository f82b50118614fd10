"""The size laws: no function over 50 lines, no file over 350 lines of code, every file says what it is; names; laws of tests."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "src").rglob("*.py"))
TABLES = {"keymap.py", "keymap_tables.py"}


_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_code(source: str, tree: ast.Module) -> int:
    """How many lines have code on them: blank ones, comments and docstrings cost nothing, so that nobody saves on them."""
    docs: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            docs.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docs)


def test_what_counts_as_code() -> None:
    source = '"""Two\nlines."""\n\n# why\ndef f():\n    """What."""\n    return """a\nb"""  # so\n'
    assert lines_of_code(source, ast.parse(source)) == 3


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_sizes(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "a file opens with its law"
    assert path.name in TABLES or lines_of_code(source, tree) <= 350
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= 50, node.name
        assert not isinstance(node, ast.Assert), f"assert in line {node.lineno}: python -O removes it"


# Where a wait is no wait for what must come: it decides what happens next, or it runs apart from the tests.
SHORT_WAITS = {"tests/clipboard/conftest.py": 1, "tests/session/child.py": 1, "tests/endurance/world.py": 2}


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_wait_is_longer_on_a_busy_host(path: Path) -> None:
    bare = re.findall(r"monotonic\(\) \+ \d.*", path.read_text())
    assert len(bare) <= SHORT_WAITS.get(str(path.relative_to(ROOT)), 0), f"isolation.patient() it: {bare}"


@pytest.mark.parametrize(
    "path",
    sorted({*(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")}),
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_what_a_page_is_waited_for_is_a_function(path: Path) -> None:
    """The page forbids eval, and Playwright evals any other expression again at each look but the first."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "wait_for_function"
        ):
            waited = ast.literal_eval(node.args[0])
            assert "=>" in waited.partition("\n")[0], f"line {node.lineno}: {waited}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_say_what_a_thing_is(path: Path) -> None:
    """A manager, a helper or a util may be anything; an agent may be a session's, MeshCentral's or launchd's."""
    defined = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    names = [path.stem, *(node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, defined))]
    assert [name for name in names if re.search(r"(?i)manager|helper|utils?$|^agents?$", name)] == []


def test_a_class_has_a_name_of_its_own() -> None:
    """Whoever reads `Outcome` or `Entry` should not have to ask whose; a private class is its module's affair."""
    named: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                named.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in named.items() if len(paths) > 1} == {}


def test_whether_json_is_wanted_is_known_in_one_place() -> None:
    """Commands ask `cli.output`; nobody hands the flag on."""
    knows = {"common.py", "output.py", "main.py"}
    asked = [path for path in FILES if path.parent.name == "cli" and path.name not in knows]
    assert len(asked) > 30
    assert [path.name for path in asked if re.search(r"\bas_json\b(?!=wants_json\(\))", path.read_text())] == []
