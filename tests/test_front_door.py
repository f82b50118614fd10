"""`./pommel` and `./test` from wherever they are called, and by whatever name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that is installed, with a Python that says what it is asked for."""
    here = tmp_path / "my check$out"
    (here / ".venv" / "bin").mkdir(parents=True)
    (here / "tools").mkdir()
    for name in ("pommel", "test", "pyproject.toml"):
        shutil.copy(ROOT / name, here / name)
    shutil.copy(ROOT / "pyproject.toml", here / ".venv" / ".pommel-pyproject")
    (here / "lock").mkdir()
    shutil.copy(ROOT / "lock" / "run.txt", here / "lock" / "run.txt")
    shutil.copy(ROOT / "lock" / "run.txt", here / ".venv" / ".pommel-lock")
    (here / ".venv" / ".pommel-installed").write_text(f"{here}\n")
    python = here / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    python.chmod(0o755)
    # The first thing that ./test takes from its checkout; that is far enough.
    (here / "tools" / "venv.sh").write_text("pwd\nexit 0\n")
    return here


def called(argv: list[str], cwd: Path, **env: str) -> list[str]:
    done = subprocess.run(argv, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("program", ["pommel", "test"])
@pytest.mark.parametrize("way", ["itself", "absolute", "relative", "chained", "folder", "PATH", "a dash", "CDPATH"])
def test_it_finds_its_checkout(checkout: Path, tmp_path: Path, program: str, way: str) -> None:
    bin, other = tmp_path / "my bin", tmp_path / "elsewhere"
    bin.mkdir()
    other.mkdir()
    argv, cwd, env = [str(bin / program)], other, {}
    if way == "itself":
        argv = [f"../{checkout.name}/{program}"]
    elif way == "absolute":
        (bin / program).symlink_to(checkout / program)
    elif way == "relative":
        (bin / program).symlink_to(Path("..") / checkout.name / program)
        argv = [f"../my bin/{program}"]
    elif way == "chained":
        (other / "second link").symlink_to(Path("..") / checkout.name / program)
        (bin / "any-name").symlink_to("../elsewhere/second link")
        argv, cwd = ["./any-name"], bin
    elif way == "folder":
        (other / "link").symlink_to(checkout)
        argv = [f"link/{program}"]
    elif way == "PATH":
        (bin / f"my-{program}").symlink_to(checkout / program)
        argv, env = [f"my-{program}"], {"PATH": f"{bin}:{os.environ['PATH']}"}
    elif way == "a dash":
        (bin / "-x").symlink_to(checkout / program)
        argv, cwd = ["sh", "--", "-x"], bin
    else:
        argv, cwd, env = ["sh", program], checkout, {"CDPATH": str(tmp_path)}
    told = called([*argv, *(["list", "a b"] if program == "pommel" else [])], cwd, **env)
    if program == "pommel":
        assert told[0] == str(checkout / ".venv" / "bin" / "python")
        assert told[1:] == ["-P", "-m", "pommel", "list", "a b"]
    else:
        assert told == [str(checkout)]
