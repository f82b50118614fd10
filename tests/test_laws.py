"""The size laws: no function over 50 lines, no file over 400 (tables aside), every file says what it is; a law of tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "src").rglob("*.py"))
TABLES = {"keymap.py", "keymap_tables.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_sizes(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "a file opens with its law"
    assert path.name in TABLES or source.count("\n") <= 400
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
