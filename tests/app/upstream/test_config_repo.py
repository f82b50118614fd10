"""`init`: a folder becomes a config repo, and what was in it stays."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pommel.app.upstream import config_repo
from pommel.app.workspace import Workspace
from pommel.errors import StateError, UsageError
from pommel.overlay.pins import DEFAULT
from pommel.paths import Home


def test_what_it_writes_is_read_back_as_it_means(tmp_path: Path) -> None:
    made = config_repo.init(tmp_path / "a" / "mac", macos="14", name="work")
    assert made.git and (made.folder / ".git").is_dir()
    workspace = Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), made.folder, {})
    assert workspace.names() == ["trial", "work"]
    assert workspace.spec("work").macos == "14"
    assert workspace.pin(workspace.file) == DEFAULT
    assert workspace.config_repo(workspace.file) == made.folder
    assert workspace.checkout(workspace.file).name.startswith("mac-")


def test_every_key_that_is_commented_out_is_one_that_there_is(tmp_path: Path) -> None:
    made = config_repo.init(tmp_path)
    text = (made.folder / "pommel.toml").read_text()
    head, _, machine = text.partition("[machine.sonoma]\n")
    lines = [line[2:] if line.startswith("# ") and " = " in line else line for line in machine.splitlines()]
    whole = head + "[machine.sonoma]\n" + "\n".join(lines)
    assert len(tomllib.loads(whole)["machine"]["sonoma"]) > 8
    (made.folder / "pommel.toml").write_text(whole)
    workspace = Workspace(Home(tmp_path / "h", tmp_path / "r", tmp_path / "c"), made.folder, {})
    assert workspace.spec("sonoma").memory_bytes == 8 << 30


def test_it_writes_what_is_missing_and_touches_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "pommel.toml").write_text("# mine\n")
    first = config_repo.init(tmp_path, dry_run=True)
    assert "pommel.toml" not in first.written and not (tmp_path / "README.md").exists()
    assert config_repo.init(tmp_path).written == first.written
    assert (tmp_path / "pommel.toml").read_text() == "# mine\n"
    again = config_repo.init(tmp_path)
    assert (again.written, again.git) == ((), False)


def test_inside_another_repository_no_second_one_is_begun(tmp_path: Path) -> None:
    config_repo.init(tmp_path)
    assert not config_repo.init(tmp_path / "sub").git


def test_what_it_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "patches").write_text("")
    with pytest.raises(StateError, match="is not a folder"):
        config_repo.init(tmp_path / "file")
    with pytest.raises(StateError, match="patches exists and is not a folder"):
        config_repo.init(tmp_path / "repo")
    with pytest.raises(UsageError, match="no macOS called 'leopard'"):
        config_repo.init(tmp_path / "x", macos="leopard")
    with pytest.raises(UsageError, match="cannot be a machine's name"):
        config_repo.init(tmp_path / "x", name="../x")
    assert not (tmp_path / "x").exists()
