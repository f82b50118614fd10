"""pommel.toml: which one counts, and what is refused before its keys are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel import config
from pommel.config import find_file, read_file
from pommel.errors import ConfigError
from pommel.settings import ConfigFile


def test_the_nearest_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_file(inner, {}) is None
    user = tmp_path / "xdg" / "pommel" / "pommel.toml"
    user.parent.mkdir(parents=True)
    user.touch()
    assert find_file(inner, {}) == user
    (tmp_path / "a" / "pommel.toml").touch()
    assert find_file(inner, {}) == tmp_path / "a" / "pommel.toml"
    (inner / "pommel.toml").touch()
    assert find_file(inner, {}) == inner / "pommel.toml"
    assert find_file(inner, {"POMMEL_CONFIG": str(user)}) == user
    with pytest.raises(ConfigError, match="there is no such file"):
        find_file(inner, {"POMMEL_CONFIG": str(tmp_path / "none.toml")})


def test_no_file_is_an_empty_one() -> None:
    assert read_file(None) == ConfigFile(None, "", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[machine.a\n", r"pommel\.toml is not valid TOML: .*line 1"),
        ("[machine.a]\n[machine.a]\n", "is not valid TOML"),
        ("\n[machines.a]\n", r"pommel\.toml:2: unknown table or key 'machines'"),
        ("x = 1\n", r"pommel\.toml:1: unknown table or key 'x'"),
        ("machine = 1\n", "`machine` must contain tables"),
        ("upstream = 1\n", r"pommel\.toml:1: `upstream` must be a table"),
        ("[upstream]\n\ncomit = 'a'\n", r"pommel\.toml:3: unknown key 'comit' in \[upstream\]"),
        ("[upstream]\nurl = 1\n", r"pommel\.toml:2: upstream\.url must be an address that git can fetch from, not 1"),
        ("[upstream]\nsha256 = 'a'\n", r"upstream\.sha256 must be a table of files and hashes"),
        ("[upstream]\nsha256 = {a = 1}\n", r"upstream\.sha256 must be a table of files and hashes"),
        ("[machine]\na = 1\n", "`machine` must contain tables"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "pommel.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_file(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\0")
    with pytest.raises(ConfigError, match="is not text in UTF-16"):
        read_file(tmp_path / "bytes.toml")
    with pytest.raises(ConfigError, match="is a folder, but a file is needed"):
        read_file(tmp_path)


def test_the_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POMMEL_CORES", "3")
    found = config.environment()
    assert found["POMMEL_CORES"] == "3"
    monkeypatch.delenv("POMMEL_CORES")
    assert "POMMEL_CORES" in found
