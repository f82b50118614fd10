"""Pommel's plugin of pytest, without a machine: it is found, and says what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def ran(folder: Path, *words: str) -> str:
    (folder / "test_x.py").write_text("def test_x(pommel_machine):\n    pommel_machine.run('true')\n")
    argv = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *words, "."]
    # Where CI is set, pytest repeats the whole message in its summary; elsewhere it cuts it.
    env = {key: value for key, value in os.environ.items() if key not in ("CI", "BUILD_NUMBER")}
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False).stdout


def test_without_an_image_it_says_what_to_type(tmp_path: Path) -> None:
    assert ran(tmp_path).count("pytest --pommel-image NAME") == 1, "once, with the hint"


def test_an_image_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert "there is no machine called 'nobody'" in ran(tmp_path, "--pommel-image", "nobody")
    (tmp_path / "pytest.ini").write_text("[pytest]\npommel_image = nobody\n")
    assert "there is no machine called 'nobody'" in ran(tmp_path)
