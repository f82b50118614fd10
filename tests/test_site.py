"""The documents as a site: it is built as mkdocs.yml says, where a link that leads nowhere is an error, and it is whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pommel.cli.main import COMMANDS
from pommel.machine.spec import SETTINGS
from pommel.settings import Setting

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from examples import OF_SETTINGS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mkdocs", "build", "--strict", "--site-dir", built],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return built


def test_every_document_is_on_it(site: Path) -> None:
    for document in (ROOT / "docs").glob("*.md"):
        assert (site / f"{document.stem}.html").is_file(), document.name
    assert "<h1" in (site / "index.html").read_text()


def test_every_setting_and_every_command_is_told(site: Path) -> None:
    settings, commands = ((site / "reference" / f"{name}.html").read_text() for name in ("settings", "commands"))
    for setting in SETTINGS:
        assert f"<code>{setting.key}</code>" in settings, setting.key
        assert f"<code>{setting.key} = " in settings, setting.key
    for name in COMMANDS:
        assert f'id="pommel-{name}"' in commands, name
    assert 'id="pommel-snapshot-save"' in commands  # commands of commands too


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_the_example_of_a_setting_is_accepted_and_changes_something(setting: Setting) -> None:
    assert setting.parse(tomllib.loads(f"value = {OF_SETTINGS[setting.key]}")["value"]) != setting.default


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"?(https?:[^\" >]+)", page.read_text())
        assert [each for each in loaded if "canonical" not in each] == [], page.name
