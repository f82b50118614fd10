"""Removing everything: what is Pommel's, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel.app import uninstall
from pommel.app.workspace import Workspace
from pommel.paths import Home


@pytest.mark.parametrize("runtime", ["h/run", "elsewhere/pommel"])
def test_everything_of_ours_goes_and_nothing_else(tmp_path: Path, runtime: str) -> None:
    home = Home(tmp_path / "h", tmp_path / runtime, tmp_path / "c")
    made = home.machine("blue")
    made.directory.mkdir(parents=True)
    made.record.write_text("{}")
    made.runtime.mkdir(parents=True)
    home.trial.mkdir()
    home.cache.mkdir()
    (home.root / "ports.lock").touch()
    (tmp_path / "kept").touch()
    workspace = Workspace(home, tmp_path, {})
    assert {path for path, _ in uninstall.plan(workspace)} >= {home.machines, home.trial, home.cache}
    uninstall.uninstall(workspace)
    assert not home.root.exists() and not home.runtime.exists() and not home.cache.exists()
    assert (tmp_path / "kept").exists()


def test_a_home_with_other_things_in_it_stays(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path / "run", tmp_path / "c")
    home.trial.mkdir()
    (tmp_path / "thesis.tex").touch()
    uninstall.uninstall(Workspace(home, tmp_path, {}))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_of_a_link_only_the_link_goes_and_that_is_said(tmp_path: Path) -> None:
    home = Home(tmp_path / "h", tmp_path / "r", tmp_path / "c")
    big = tmp_path / "big-disk"
    big.mkdir()
    home.root.mkdir()
    home.trial.symlink_to(big)
    told: list[str] = []
    uninstall.uninstall(Workspace(home, tmp_path, {}), report=lambda event: told.append(event.text))
    assert big.is_dir() and not home.root.exists()
    assert told == [f"{home.trial} was a link: {big} stays"]
