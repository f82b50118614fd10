"""A machine whose folder is a link to what is not there: every command says so, and none does half of its work."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver import Shell
from machine.guests import make_disk

# "lost" is the machine whose folder leads to nowhere; "here" is a whole one.
REFUSED = (
    ("up", "lost", "--no-open"),
    ("up", "lost", "--dry-run"),
    ("start", "lost"),
    ("info", "lost"),
    ("clone", "lost", "new"),
    ("clone", "here", "lost"),
    ("clone", "here", "lost", "--linked"),
    ("rename", "lost", "new"),
    ("rename", "here", "lost"),
    ("delete", "lost", "--yes"),
    ("snapshot", "save", "lost", "t"),
    ("disk", "list", "lost"),
)


@pytest.fixture
def lost(shell: Shell) -> Path:
    """Where the link leads."""
    image = make_disk(shell.root / "old.qcow2")
    shell.run("adopt", str(image), "--name", "here")
    target = shell.root / "big drive" / "lost"
    shell.machine("lost").symlink_to(target)
    return target


def seen(shell: Shell) -> list[str]:
    """All that is in the home, with what the records say."""
    return sorted(
        f"{path.relative_to(shell.home)} {path.read_bytes() if path.name == 'machine.json' else ''}"
        for path in (shell.home / "machines").rglob("*")
        if not path.name.endswith(".lock")
    )


@pytest.mark.parametrize("named", [False, True], ids=["", "in pommel.toml"])
def test_it_is_named_and_nothing_is_done(shell: Shell, lost: Path, named: bool) -> None:
    if named:
        shell.config('[machine.lost]\nupstream = "trial"\n[machine.new]\nupstream = "trial"\n')
    before = seen(shell)
    for words in REFUSED:
        done = shell.run(*words, status=3)
        assert f"the folder of lost is a link to {lost}, which does not exist" in done.stderr, words
        assert f"if the drive no longer exists: rm {shell.machine('lost')}" in done.stderr
        assert seen(shell) == before, words


def test_list_and_status_tell_it_and_the_rest(shell: Shell, lost: Path) -> None:
    told = shell.json("status", "lost")
    assert told["state"] == "absent" and told["detail"] == f"its folder is a link to {lost}, which does not exist"
    assert "hint" not in shell.run("status", "lost").stdout
    assert {row["name"]: row["state"] for row in shell.json("list")["machines"]} == {
        "here": "stopped",
        "lost": "absent",
        "trial": "absent",
    }


def test_it_is_there_again_with_its_drive(shell: Shell, lost: Path) -> None:
    lost.parent.mkdir()
    shell.machine("here").rename(lost)
    assert shell.json("status", "lost")["state"] == "stopped"
    shell.run("clone", "lost", "new")
    shell.run("delete", "lost", "--yes")
    assert not shell.machine("lost").is_symlink() and shell.json("status", "new")["state"] == "stopped"
