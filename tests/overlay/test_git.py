"""git as we call it: what it reads, what it does not, and how it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel.errors import CommandFailed, MissingProgram
from pommel.overlay.git import git


def test_local_work_reads_no_configuration_but_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".gitconfig").write_text("[pommel]\ntest = yes\n[core]\nautocrlf = true\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.autocrlf=input'")
    asked = ("config", "--get", "pommel.test")
    assert git(tmp_path, *asked, check=False).returncode == 1
    assert git(tmp_path, *asked, fetches=True).text == "yes\n"
    for fetches in (False, True):
        assert git(tmp_path, "config", "--get", "core.autocrlf", fetches=fetches).text == "false\n"


def test_a_failure_carries_gits_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"not a git repository") as caught:
        git(tmp_path, "rev-parse", "HEAD", env={"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})
    assert caught.value.hint is None


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(MissingProgram, match=r"git is not installed") as caught:
        git(tmp_path, "status")
    assert "apt install git" in (caught.value.hint or "")
