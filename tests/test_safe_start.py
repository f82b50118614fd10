"""No Python is started so that it imports from the current folder, which may be /tmp with a stranger's click.py."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pommel.app.host import checks as host_checks
from pommel.process import this_python

ROOT = Path(__file__).parents[1]
SOURCES = [*sorted((ROOT / "src").rglob("*.py")), *sorted((ROOT / "tools").glob("*.py"))]
SCRIPTS = [ROOT / "pommel", *sorted((ROOT / "tools").glob("*.sh")), *sorted((ROOT / "src").rglob("*.sh"))]
SAFE = ("-P", "-I")


def is_python(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.executable"


def unsafe(tree: ast.AST) -> list[str]:
    """Where a list begins with a Python and goes on without a safe word, or a text has it be typed so."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple):
            for first, second in zip(node.elts, node.elts[1:], strict=False):
                starts = is_python(first) or (
                    isinstance(first, ast.BinOp)
                    and isinstance(first.right, ast.Constant)
                    and first.right.value == "python"
                )
                if starts and not (isinstance(second, ast.Constant) and second.value in SAFE):
                    found.append(f"line {first.lineno}: {ast.unparse(node)}")
                if isinstance(first, ast.Constant) and first.value == "-m" and isinstance(second, ast.Constant):
                    before = node.elts[node.elts.index(first) - 1]
                    if (
                        second.value in ("pommel", "pip", "venv", "ensurepip")
                        and node.elts.index(first)
                        and not (isinstance(before, ast.Constant) and before.value in SAFE)
                    ):
                        found.append(f"line {first.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.JoinedStr):
            for value, rest in zip(node.values, node.values[1:], strict=False):
                python = isinstance(value, ast.FormattedValue) and is_python(value.value)
                if python and isinstance(rest, ast.Constant) and str(rest.value).startswith((" -m", " -c")):
                    found.append(f"line {node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not _is_prose(node.value):
            found += [f"line {node.lineno}: {text}" for text in re.findall(r"python[\w.\"'}]* -[mc] ?\S*", node.value)]
    return found


def _is_prose(text: str) -> bool:
    return "`python -m" in text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_python_is_started_with_a_safe_path(path: Path) -> None:
    assert unsafe(ast.parse(path.read_text())) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_so_do_scripts(path: Path) -> None:
    starts = re.findall(r'python3?"? [^\n]*|"\$(?:python|candidate|1)" -[^\n]*', path.read_text())
    starts = [line for line in starts if re.search(r'(python3?"?|\$candidate"|\$1"|\$python") +-', line)]
    assert all(re.search(r'(?:python3?"?|\$candidate"|\$1"|\$python") +-[PI]\b', line) for line in starts), starts
    assert starts or path.name != "pommel"


@pytest.mark.parametrize(
    "code",
    [
        '[sys.executable, "-m", "pommel"]', '(sys.executable, *words)', 'f"{sys.executable} -m pip"',
        '["env", sys.executable, "-c", x]', '"python3 -m pommel up"', '[found, "-m", "pommel"]',
    ],
)  # fmt: skip
def test_the_law_sees(code: str) -> None:
    assert unsafe(ast.parse(code))


def test_a_strangers_module_in_the_current_folder_is_not_imported(tmp_path: Path) -> None:
    for module in ("click", "pommel", "platformdirs", "json", "pip"):
        (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'taken')!r}, 'w')\n")
    for words in (
        host_checks.own_command(),
        this_python("-m", "pommel"),
        [str(Path(sys.executable).with_name("pommel"))],
    ):
        done = subprocess.run([*words, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.startswith("pommel ") and not (tmp_path / "taken").exists(), done
    subprocess.run([sys.executable, "-m", "pommel", "--version"], cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / "taken").exists(), "the trap works"
