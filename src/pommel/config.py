"""Find and read pommel.toml. Band: shared ground.

The allowed keys, and the order of file, environment and flag, are in `settings`.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pommel import account, texts, trust
from pommel.errors import ConfigError, NotPermitted
from pommel.settings import ConfigFile

FILE_NAME = "pommel.toml"
_OTHER = "move it away, or use another file: POMMEL_CONFIG=FILE"
_PIN = {
    "url": "an address that git can fetch from",
    "commit": "a whole commit id",
    "sha256": 'a table of files and hashes, { "OpenCore/OpenCore.qcow2" = "6ed3…" }',
}


def find_file(start: Path, env: Mapping[str, str]) -> Path | None:
    """The pommel.toml to use: POMMEL_CONFIG, else in `start` or a parent folder, else the user's configuration.

    Anything with this name is used, so that an unreadable one (a folder, a broken link) is an error and not ignored.

    Raises:
        ConfigError: POMMEL_CONFIG names a file that does not exist.
    """
    if named := env.get("POMMEL_CONFIG"):
        path = start / account.expand(named)  # absolute, because machines store it
        if not path.exists():
            raise ConfigError(f"POMMEL_CONFIG names {path}, but there is no such file")
        return path
    for folder in (start, *start.parents):
        if os.path.lexists(folder / FILE_NAME):
            return folder / FILE_NAME
    try:
        user = account.config() / FILE_NAME
    except NotPermitted:  # a user without a home folder has no configuration folder
        return None
    return user if os.path.lexists(user) else None


def read_file(path: Path | None) -> ConfigFile:
    """Read a pommel.toml and check its shape (not its machines' keys: see `resolve`).

    Raises:
        ConfigError: it cannot be read, is not text or not TOML, or has unknown tables.
        TrustError: another user can change it.
    """
    if path is None:
        return ConfigFile(None, "", {})
    try:
        text = texts.read_text(path, hint=_OTHER)
        trust.must(path, "the configuration")
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise ConfigError(f"{path} is not valid TOML: {failure}") from failure
    for key in document:
        if key not in ("machine", "upstream", "mcp"):
            raise ConfigError(
                f"{path}:{line_of_table(text, key)}: unknown table or key {key!r}",
                hint="put machines in tables called [machine.NAME], the upstream's pin in [upstream], and what MCP "
                "clients may do in [mcp]",
            )
    machines = document.get("machine", {})
    if not isinstance(machines, dict) or not all(isinstance(table, dict) for table in machines.values()):
        raise ConfigError(f"{path}: `machine` must contain tables", hint="write [machine.NAME]")
    return ConfigFile(
        path, text, machines, _upstream(path, text, document.get("upstream", {})), document.get("mcp", {})
    )


def environment() -> dict[str, str]:
    """The process environment; only this function reads it for settings."""
    return dict(os.environ)


def _upstream(path: Path, text: str, table: Any) -> dict[str, Any]:
    """The [upstream] table, with checked keys and types; `overlay.pins` checks the values."""
    where = f"{path}:{line_of_table(text, 'upstream')}"
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: `upstream` must be a table", hint=f"write [upstream] with {', '.join(_PIN)}")
    for key, value in table.items():
        where = f"{path}:{line_of_table(text, key)}"
        if key not in _PIN:
            near = difflib.get_close_matches(key, _PIN, n=1)
            raise ConfigError(
                f"{where}: unknown key {key!r} in [upstream]",
                hint=(f"did you mean {near[0]}? " if near else "") + f"known keys: {', '.join(_PIN)}",
            )
        texts = value.values() if key == "sha256" and isinstance(value, dict) else [value]
        if (key == "sha256") != isinstance(value, dict) or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f"{where}: upstream.{key} must be {_PIN[key]}, not {value!r}")
    return table


def line_of_table(text: str, key: str) -> int:
    """The line of a table or key in a pommel.toml, found by its text; 1 if it is not found."""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[\].=]", line):
            return number
    return 1
