"""git as we call it: what it reads, what it does not, and how it fails."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pommel.errors import CommandFailed, MissingProgram, NotPermitted
from pommel.overlay.git import environment, git
from pommel.overlay.upstream import ensure, status

from .repos import Upstream, sh


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
    assert "package git" in (caught.value.hint or "")


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody else's repository, and an empty home of ours."""
    folder = tmp_path / "it's their $(re)po"
    folder.mkdir()
    sh(folder, "init", "--quiet")
    sh(folder, "commit", "--quiet", "--allow-empty", "-m", "x")
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 65534, 65534)
    else:
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    return folder


@pytest.mark.parametrize("fetches", [False, True])
@pytest.mark.parametrize("check", [False, True])
def test_what_the_hint_says_helps(theirs: Path, tmp_path: Path, fetches: bool, check: bool) -> None:
    (tmp_path / "link").symlink_to(theirs)
    for spelled in (theirs, tmp_path / "link"):
        with pytest.raises(NotPermitted, match=r"is another user's repository") as refusal:
            git(spelled, "rev-parse", "HEAD", fetches=fetches, check=check)
        assert str(theirs) in refusal.value.message
    typed = (refusal.value.hint or "").partition("as your user): ")[2]
    assert typed.startswith("git config --global --add safe.directory ")
    subprocess.run(["sh", "-c", typed], check=True)
    for spelled in (theirs, tmp_path / "link"):
        assert len(git(spelled, "rev-parse", "HEAD", fetches=fetches, check=check).text) == 41


@pytest.mark.parametrize(("trusted", "goes"), [(["*"], True), (["*", ""], False), (["/elsewhere"], False)])
def test_whatever_the_user_trusts(theirs: Path, tmp_path: Path, trusted: list[str], goes: bool) -> None:
    (tmp_path / "home" / ".gitconfig").write_text("[safe]\n" + "".join(f'directory = "{each}"\n' for each in trusted))
    if goes:
        assert git(theirs, "rev-parse", "HEAD").returncode == 0
    else:
        with pytest.raises(NotPermitted):
            git(theirs, "rev-parse", "HEAD")


def test_trust_in_the_environment_counts_and_of_the_repository_does_not(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (theirs / ".git" / "config").open("a") as config:
        config.write("[safe]\n\tdirectory = *\n")
    with pytest.raises(NotPermitted):
        git(theirs, "rev-parse", "HEAD")
    for key, value in (("COUNT", "1"), ("KEY_0", "safe.directory"), ("VALUE_0", "*")):
        monkeypatch.setenv(f"GIT_CONFIG_{key}", value)
    assert git(theirs, "rev-parse", "HEAD").returncode == 0


HOSTILE = """
[core]
    autocrlf = true
    eol = crlf
    fileMode = false
    fsmonitor = {folder}/mark
    hooksPath = {folder}/hooks
    attributesFile = {folder}/attributes
    excludesFile = {folder}/attributes
    pager = {folder}/mark
    sshCommand = {folder}/mark
    quotePath = true
[init]
    templateDir = {folder}/template
    defaultBranch = odd
[commit]
    gpgSign = true
[gpg]
    program = {folder}/mark
[color]
    ui = always
[diff]
    noprefix = true
    external = {folder}/mark
    renames = copies
[apply]
    whitespace = fix
[fetch]
    fsckObjects = true
    prune = true
    recurseSubmodules = true
[transfer]
    fsckObjects = true
[status]
    showUntrackedFiles = no
"""


@pytest.mark.parametrize("hostile", [False, True])
def test_no_setting_of_the_users_changes_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hostile: bool
) -> None:
    mark = tmp_path / "mark"
    mark.write_text(f"#!/bin/sh\ntouch {tmp_path}/marked\nexit 1\n")
    mark.chmod(0o755)
    for folder in ("hooks", "template/hooks"):
        (tmp_path / folder).mkdir(parents=True)
        for hook in ("post-checkout", "reference-transaction", "post-index-change", "pre-commit"):
            (tmp_path / folder / hook).symlink_to(mark)
    (tmp_path / "attributes").write_text("* text eol=crlf\n*.fd ident\n")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(HOSTILE.format(folder=tmp_path) if hostile else "")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    there = Upstream(tmp_path / "there")
    lines = "one\ntwo \nthree\r\n"
    there.commit({"ä b.txt": lines, "run.sh": "#!/bin/sh\n"})
    commit = there.commit({"run.sh": "#!/bin/sh\n:\n"})
    checkout = tmp_path / "checkout"
    seen = ensure(checkout, there.pin(commit), report=lambda _: None)
    assert (seen.at_pin, seen.clean, seen.modified, seen.missing) == (True, True, (), ())
    assert (checkout / "ä b.txt").read_bytes() == lines.encode()
    assert not (tmp_path / "marked").exists()
    (checkout / "run.sh").chmod(0o755)
    (checkout / "ä b.txt").write_text("other\n")
    assert status(checkout, there.pin(commit)).modified == ("run.sh", "ä b.txt")
    assert not (tmp_path / "marked").exists()


def test_an_ssh_command_of_the_users_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_SSH", "GIT_SSH_COMMAND"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert "BatchMode=yes" in environment(fetches=True)["GIT_SSH_COMMAND"]
    config.write_text("[core]\nsshCommand = ssh -i key\n")
    assert "GIT_SSH_COMMAND" not in environment(fetches=True)
    assert git(tmp_path, "config", "--get", "core.sshCommand", fetches=True).text == "ssh -i key\n"
    config.write_text("")
    monkeypatch.setenv("GIT_SSH", "/my/ssh")
    assert "GIT_SSH_COMMAND" not in environment(fetches=True)
