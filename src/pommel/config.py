"""Find and read pommel.toml. Band: shared ground.

What a file may say, and how a value is chosen among file, environment and flag, is in `settings`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pommel.errors import ConfigError
from pommel.settings import ConfigFile

FILE_NAME = "pommel.toml"


def find_file(start: Path, env: Mapping[str, str]) -> Path | None:
    """The pommel.toml that counts: POMMEL_CONFIG, else `start` or a parent, else the user's configuration.

    Raises:
        ConfigError: POMMEL_CONFIG names a file that is not there.
    """
    if named := env.get("POMMEL_CONFIG"):
        path = Path(named).expanduser()
        if not path.is_file():
            raise ConfigError(f"POMMEL_CONFIG names {path}, and there is no such file")
        return path
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    from platformdirs import user_config_path

    user = user_config_path("pommel", appauthor=False) / FILE_NAME
    return user if user.is_file() else None


def read_file(path: Path | None) -> ConfigFile:
    """Read a pommel.toml and check its shape (not its machines' keys: see `resolve`).

    Raises:
        ConfigError: it is no TOML, or holds tables we do not know.
    """
    if path is None:
        return ConfigFile(None, "", {})
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as failure:
        raise ConfigError(f"{path} cannot be read: {failure}") from failure
    except tomllib.TOMLDecodeError as failure:
        raise ConfigError(f"{path} is not valid TOML: {failure}") from failure
    for key in document:
        if key != "machine":
            raise ConfigError(
                f"{path}:{_line_of_table(text, key)}: unknown table or key {key!r}",
                hint="machines stand in tables called [machine.NAME]",
            )
    machines = document.get("machine", {})
    if not isinstance(machines, dict) or not all(isinstance(table, dict) for table in machines.values()):
        raise ConfigError(f"{path}: `machine` must hold tables", hint="write [machine.NAME]")
    return ConfigFile(path, text, machines)


def environment() -> dict[str, str]:
    """The process environment; the one place that reads it for settings."""
    return dict(os.environ)


def _line_of_table(text: str, key: str) -> int:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[\].=]", line):
            return number
    return 1
