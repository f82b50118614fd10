"""The man pages: groff and man have nothing to say against them, and they tell of every command and setting."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pommel.cli.main import COMMANDS
from pommel.machine.spec import SETTINGS

ROOT = Path(__file__).parents[2]
MAN = shutil.which("man.REAL") or "man"  # Ubuntu's container images put their own in its place


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("share")
    subprocess.run([sys.executable, "-P", ROOT / "tools" / "shared_files.py", made], check=True, timeout=60)
    return made


@pytest.fixture(params=["man1/pommel.1", "man5/pommel.toml.5"])
def page(share: Path, request: pytest.FixtureRequest) -> Path:
    return share / "man" / str(request.param)


def shown(page: Path) -> str:
    """A page as a terminal has it, without bold and underlined letters, on lines that are long enough for all."""
    env = {**os.environ, "MANWIDTH": "1000", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""}
    made = subprocess.run([MAN, "-l", page], env=env, check=True, capture_output=True, text=True).stdout
    return re.sub(r".\x08", "", made)


def test_nothing_is_wrong_with_it(page: Path) -> None:
    whole = subprocess.run(["groff", "-ww", "-k", "-man", "-Tutf8", page], check=True, capture_output=True, text=True)
    assert whole.stderr == ""
    # As lintian has it.
    env = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
    words = [MAN, "--warnings=w", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page]
    assert subprocess.run(words, env=env, check=True, capture_output=True, text=True).stderr == ""


def test_it_would_be_seen() -> None:
    """What the two programs are asked for finds a macro that does not exist."""
    wrong = subprocess.run(
        ["groff", "-ww", "-k", "-man", "-Tutf8"], input=".TH A 1\n.NO SUCH\n", capture_output=True, text=True
    )
    assert "NO" in wrong.stderr


def test_every_command_is_told(share: Path) -> None:
    text = shown(share / "man" / "man1" / "pommel.1")
    for name in COMMANDS:
        assert re.search(rf"^   pommel {re.escape(name)}$", text, re.MULTILINE), name
    assert re.search(r"^   pommel snapshot save$", text, re.MULTILINE)  # commands of commands too
    assert "--wait-timeout SECONDS" in text and "pommel completion bash > ~/.local/share/bash-completion" in text


def test_every_setting_is_told(share: Path) -> None:
    text = shown(share / "man" / "man5" / "pommel.toml.5")
    for setting in SETTINGS:
        assert re.search(rf"^       {re.escape(setting.key)}(?: |$)", text, re.MULTILINE), setting.key
        assert " ".join(setting.help.replace("`", "").split()) in text, setting.key


def test_the_menu_has_an_entry_and_its_icon(share: Path) -> None:
    entry = share / "applications" / "pommel.desktop"
    done = subprocess.run(["desktop-file-validate", entry], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert "sh pommel menu\n" in entry.read_text()
    assert (share / "icons" / "hicolor" / "scalable" / "apps" / "pommel.svg").is_file()


def test_completions(share: Path) -> None:
    bash = share / "bash-completion" / "completions" / "pommel"
    asked = f'. "{bash}"; COMP_WORDS=(pommel snap); COMP_CWORD=1; _pommel_completion pommel; echo "${{COMPREPLY[@]}}"'
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", asked], env=env, check=True, capture_output=True, text=True)
    assert done.stdout == "snapshot\n"
    assert (share / "zsh" / "site-functions" / "_pommel").read_text().startswith("#compdef pommel\n")
    assert "--command pommel" in (share / "fish" / "vendor_completions.d" / "pommel.fish").read_text()
