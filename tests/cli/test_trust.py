"""Whose pommel.toml and boot scripts count, by the real command: without a sandbox nothing runs unasked."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Shell
from overlay.repos import NEW, SCRIPT
from waits import wait_until

STRANGER = 54321
CONFIG = '[machine.mac]\nupstream = "up"\nmacos = "sonoma"\naccel = "tcg"\n'
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="giving files to another user takes root")


@pytest.fixture
def shell() -> Iterator[Shell]:
    made = Shell()
    upstream = made.cwd / "up"
    shutil.copytree(NEW, upstream)
    text = (upstream / SCRIPT).read_text()
    first, rest = text.split("\n", 1)
    (upstream / SCRIPT).write_text(f'{first}\ntouch "$HOME/RAN"\n{rest}')
    made.config(CONFIG)
    yield made
    made.close()


@pytest.fixture
def bare(shell: Shell) -> Shell:
    """A host without bubblewrap."""
    folder = shell.root / "bin"
    folder.mkdir()
    for place in filter(os.path.isdir, os.environ["PATH"].split(":")):
        for name in os.listdir(place):
            if name != "bwrap" and not os.path.lexists(folder / name):
                (folder / name).symlink_to(Path(place, name))
    shell.env["PATH"] = str(folder)
    return shell


def ran(shell: Shell) -> bool:
    return (shell.root / "user" / "RAN").exists()


@as_root
@pytest.mark.parametrize("words", [["config", "mac"], ["argv", "mac"], ["up", "mac", "--dry-run"], ["doctor"]])
def test_a_strangers_configuration_in_a_parent_folder_decides_nothing(shell: Shell, words: list[str]) -> None:
    below = shell.cwd / "mine" / "work"
    below.mkdir(parents=True)
    os.chown(shell.cwd / "pommel.toml", STRANGER, STRANGER)
    shell.cwd = below
    done = shell.run(*words, status=1)
    told = done.stdout + done.stderr
    assert f"belongs to uid {STRANGER}" in told and f"pommel trust {below.parents[1] / 'pommel.toml'}" in told
    assert not ran(shell)


@as_root
def test_a_configuration_is_trusted_by_a_command(shell: Shell) -> None:
    os.chown(shell.cwd / "pommel.toml", STRANGER, STRANGER)
    shell.run("config", "mac", status=1)
    assert shell.json("trust", "pommel.toml")["trusted"] == [
        {"path": str(shell.cwd / "pommel.toml"), "kind": "path", "state": "trusted"}
    ]
    shell.run("config", "mac")
    assert shell.json("trust", "--list") == shell.json("trust")
    assert len(shell.json("trust")["trusted"]) == 1
    shell.run("trust", "--remove", "pommel.toml")
    shell.run("config", "mac", status=1)
    assert "was not trusted" in shell.run("trust", "--remove", "pommel.toml", status=2).stderr
    assert "does not exist" in shell.run("trust", "none.toml", status=2).stderr
    shell.run("trust", "--list", "pommel.toml", status=2)


@as_root
def test_a_strangers_script_is_looked_at_in_the_sandbox_and_starts_nothing(shell: Shell) -> None:
    os.chown(shell.cwd / "up" / SCRIPT, STRANGER, STRANGER)
    shell.run("argv", "mac")
    assert "is not trusted in its present state" in shell.run("up", "mac", "--dry-run", status=1).stderr
    assert not ran(shell)
    shell.run("trust", f"up/{SCRIPT}")
    assert "is not trusted" not in shell.run("up", "mac", "--dry-run", status=None).stderr
    with (shell.cwd / "up" / SCRIPT).open("a") as script:
        script.write("# another line\n")
    assert shell.json("trust")["trusted"][0]["state"] == "changed"
    shell.run("up", "mac", "--dry-run", status=1)
    assert not ran(shell)


@pytest.mark.parametrize("words", [["argv", "mac"], ["doctor", "mac"], ["config", "mac"], ["status", "mac"]])
def test_without_a_sandbox_looking_runs_no_script(bare: Shell, words: list[str]) -> None:
    bare.run("trust", f"up/{SCRIPT}")  # not even a trusted one: who looks does not expect it
    bare.run(*words, status=None)
    assert not ran(bare)


@pytest.mark.parametrize("words", [["up", "mac", "--dry-run"], ["up", "mac"], ["up", "mac", "--yes", "--detach"]])
def test_without_a_sandbox_nothing_is_started_unasked(bare: Shell, words: list[str]) -> None:
    told = bare.run(*words, status=1).stderr
    assert "would run as your user without a sandbox" in told
    assert f"pommel trust {bare.cwd / 'up' / SCRIPT}" in told
    assert not ran(bare) and not bare.machine("mac").exists()


def test_a_trusted_script_runs_until_it_or_what_it_reads_changes(bare: Shell) -> None:
    (bare.cwd / "up" / "settings.sh").write_text("CORES=2\n")
    bare.run("trust", f"up/{SCRIPT}")
    bare.run("up", "mac", "--dry-run", status=None)
    assert ran(bare)
    (bare.root / "user" / "RAN").unlink()
    (bare.cwd / "up" / "settings.sh").write_text("CORES=2; touch elsewhere\n")
    assert "is not trusted in its present state" in bare.run("up", "mac", "--dry-run", status=1).stderr
    assert not ran(bare)


@pytest.mark.parametrize(("answer", "runs"), [(b"n\n", False), (b"\n", False), (b"y\n", True)])
def test_a_person_is_asked_once(bare: Shell, answer: bytes, runs: bool) -> None:
    ours, theirs = pty.openpty()
    asked = subprocess.Popen(
        [*bare.command, "up", "mac", "--dry-run"],
        env=bare.env,
        cwd=bare.cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, answer)
    told = _read_all(ours)
    os.close(ours)
    asked.wait(60)
    assert b"may it run as your user until it changes?" in told
    assert ran(bare) is runs
    assert ("is not trusted" in bare.run("up", "mac", "--dry-run", status=None).stderr) is not runs


def _read_all(terminal: int) -> bytes:
    found = b""

    def ended() -> bool:
        nonlocal found
        try:
            found += os.read(terminal, 65536)
        except OSError:  # EIO: nobody has the other end any more
            return True
        return False

    wait_until(ended, 60, 0)
    return found


def test_the_trial_machine_asks_nobody(bare: Shell) -> None:
    bare.config("")
    assert "trusted" not in bare.run("up", "trial", "--dry-run").stderr
    assert Path(bare.json("argv", "trial")["upstream_folder"]).is_dir()
