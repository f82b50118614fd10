"""What a contributor meets first: workflows, forms and hooks are well-formed, and name what is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def test_the_workflow_for_linux_runs_what_is_there() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/linux.yml").read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    for path in re.findall(r"(?:\./|\.ci/)\w+", " ".join(step.get("run", "") for step in steps)):
        assert (ROOT / path).stat().st_mode & 0o100, path
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
