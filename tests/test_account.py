"""Users without a name or a home, as containers have them: what each command says, and that nothing is made astray."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from driver import Shell
from pommel import account
from pommel.config import find_file
from pommel.errors import NotPermitted, UsageError
from pommel.paths import Home
from pommel.ssh import SshTarget, ssh_argv

HOMES = {"unset": None, "empty": "", "relative": "my/home", "tilde": "~"}
COMMANDS = ["list", "status trial", "config trial", "recovery where", "doctor", "clip status", "mesh list", "ssh trial",
            "up trial --dry-run", "uninstall --dry-run", "trust --list", "service show trial", "kvm status"]  # fmt: skip


def as_nobody(shell: Shell, words: str, home: str | None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `pommel WORDS` as a uid that no list of accounts knows, in an empty folder."""
    kept = {
        key: value
        for key, value in shell.env.items()
        if not key.startswith(("XDG_", "POMMEL_", "HOME", "USER", "LOGNAME"))
    }
    given = kept | env | ({} if home is None else {"HOME": home})
    return subprocess.run(
        ["/usr/bin/bwrap", "--dev-bind", "/", "/", "--unshare-user", "--uid", "54321", "--gid", "54321",
         sys.executable, "-m", "pommel", *words.split()],
        env=given, cwd=shell.cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("home", HOMES)
def test_without_a_home_it_is_said_what_to_set(shell: Shell, home: str) -> None:
    done = as_nobody(shell, "list", HOMES[home])
    assert done.stderr == (
        "error: uid 54321 has no home folder here\n"
        "hint: set HOME, or POMMEL_HOME, to a folder that you can write to: export HOME=/path/of/yours\n"
    )
    assert done.returncode == 1 and list(shell.cwd.iterdir()) == []


@pytest.mark.parametrize(("words", "home"), list(zip(COMMANDS, itertools.cycle(HOMES.values()), strict=False)))
def test_with_a_pommel_home_every_command_works_or_says_why(shell: Shell, words: str, home: str | None) -> None:
    done = as_nobody(shell, words, home, POMMEL_HOME=str(shell.home), XDG_RUNTIME_DIR=str(shell.root / "run"))
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0 or done.stderr.partition("error: ")[2], done.stderr
    assert list(shell.cwd.iterdir()) == [], "no folder called ~"


def test_a_home_that_is_not_there_is_made_or_refused(shell: Shell) -> None:
    done = as_nobody(shell, "init", str(shell.root / "not" / "there"))
    assert done.returncode == 0, done.stderr
    done = as_nobody(shell, "list", "/proc/none")
    assert "Traceback" not in done.stderr


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process as one whose uid has no name."""
    monkeypatch.setattr(account.os, "getuid", lambda: 54321)
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_who_has_no_name(nobody: None) -> None:
    assert account.name() is None and account.name_of(54321) is None
    assert (account.spelled(54321), account.spelled(0)) == ("uid 54321", "root")
    with pytest.raises(
        NotPermitted, match="uid 54321 has no account on this system, and OpenSSH needs a user name"
    ) as refusal:
        ssh_argv(SshTarget("127.0.0.1", 22, "me", Path("k"), Path("h")))
    assert "pommel:x:54321:" in (refusal.value.hint or "")


def test_who_has_no_home(nobody: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_file(tmp_path, {}) is None
    with pytest.raises(NotPermitted, match="uid 54321 has no home folder here"):
        Home.find({})
    with pytest.raises(NotPermitted):
        account.expand("~/x")
    found = Home.find({"POMMEL_HOME": str(tmp_path)})
    assert (found.root, found.cache) == (tmp_path, tmp_path / "cache")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert Home.find({}).root == tmp_path / "pommel"


@pytest.mark.parametrize("said", ["", "relative/home", "~"])
def test_a_home_that_is_not_absolute_counts_as_none(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = account.of_account()
    assert listed is not None
    assert account.home({"HOME": said}) == Path(listed)
    assert account.home({"HOME": "/h"}) == Path("/h")
    assert account.folder({"HOME": "/h", "XDG_DATA_HOME": "not/absolute"}, "XDG_DATA_HOME", "d") == Path("/h/d")
    assert account.data({"HOME": "/h"}) == Path("/h/.local/share/pommel")


def test_tildes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    assert account.expand("~") == Path("/h") and account.expand("~/a/b") == Path("/h/a/b")
    assert account.expand("a/~") == Path("a/~") and account.expand("") == Path()
    assert account.expand("~root") == Path(os.path.expanduser("~root"))
    with pytest.raises(UsageError, match=r"~nosuchuser/x: there is no user nosuchuser"):
        account.expand("~nosuchuser/x")
