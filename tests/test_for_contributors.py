"""What a contributor meets first: workflows, forms and hooks are well-formed, and name what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


@pytest.mark.parametrize("name", ["linux", "nightly"])
def test_a_workflow_runs_what_is_there(name: str) -> None:
    jobs = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    lines = " ".join(step.get("run", "") for step in steps)
    for path in re.findall(r"(?:\./|\.ci/)\w+", lines):
        assert (ROOT / path).stat().st_mode & 0o100, path
    assert all((ROOT / path).exists() for path in re.findall(r"tests/\S+", lines))
    assert all(job["timeout-minutes"] >= 90 for job in jobs.values())  # what .ci/run may take


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one(path: Path) -> None:
    """As GitHub's syntax for issue forms has it: a name, a description, and fields with ids that differ."""
    form = yaml.safe_load(path.read_text())
    assert form["name"] and form["description"]
    fields = [each for each in form["body"] if each["type"] != "markdown"]
    assert fields and {each["type"] for each in fields} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert len({each["id"] for each in fields}) == len(fields) and all(each["attributes"]["label"] for each in fields)


def test_the_hooks_start_what_the_tests_have() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    for hook in hooks:
        program, *words = hook["entry"].split()
        if (program_path := ROOT / program).exists():  # a test run from elsewhere has its environment elsewhere
            assert program_path.stat().st_mode & 0o100
        assert all((ROOT / word).exists() for word in words if word.endswith(".py")), hook["id"]
    assert {hook["id"] for hook in hooks} >= {"ruff-check", "mypy", "laws"}


def test_the_rooms_are_counted(tmp_path: Path) -> None:
    room = tmp_path / "src/pommel/one"
    room.mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_alone.py").touch()
    (room / "__init__.py").write_text('"""A room."""\n')
    (room / "alone.py").write_text(
        '"""Text."""\n\n# why\nfrom pommel.two import part\n\nx = (\n    part\n)  # noqa: E1\n'
    )
    other = tmp_path / "src/pommel/two"
    other.mkdir()
    (other / "__init__.py").touch()
    (other / "part.py").write_text("y = 1\n")
    command = [sys.executable, "-P", str(ROOT / "tools/rooms.py")]
    told = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=True).stdout
    assert "| one | 2 | 4 | 4 | 250 | 0 |\n" in told and "| two | 2 | 1 | 1 | 0 | 1 |\n" in told
    drawn = subprocess.run([*command, "--graph", tmp_path], capture_output=True, text=True, check=True).stdout
    assert drawn == "flowchart LR\n    one --> two\n"


def test_text_files_are_as_editorconfig_says() -> None:
    """UTF-8, lines that end in LF, a line end at the end, no blanks before it."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z", "--", "*.py", "*.md", "*.toml", "*.sh", "*.js", "*.css", "*.html", "*.yml", "*.yaml"],
        capture_output=True,
        check=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    assert len(names) > 500
    for name in names:
        text = (ROOT / name).read_bytes().decode("utf-8")
        assert "\r" not in text and text[-1:] in ("", "\n"), name
        assert not re.search(r"[ \t]$", text, re.MULTILINE), name
