"""Settings with their origin. Band: core, no I/O.

A setting's value is the last of: its default, `[machine.NAME]` in pommel.toml, the environment (`POMMEL_CORES`
for `cores`), a flag. A mistake in a file is an error with the file, the line, the key, the allowed values and
the nearest spelling; nothing is ignored.

This module has no particular settings: their tables are in the modules that they configure. `config` finds and reads
pommel.toml.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pommel.errors import ConfigError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_HEADER = re.compile(r"\s*\[\s*machine\s*\.\s*[\"']?([^\"'\]\s]+)[\"']?\s*\]")
_KEY = re.compile(r"\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*=")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([KMGT]?)(?:i?B)?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: the parser of its raw value (from TOML, or a string), and its help.

    `parse` raises ValueError with a phrase that completes "KEY must be …".
    """

    key: str
    parse: Callable[[Any], Any]
    default: Any
    help: str

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return "POMMEL_" + self.key.upper()


@dataclass(frozen=True, slots=True)
class Value:
    """A value and its source: `default`, `file`, `environment` or `flag`, with the place in `where`."""

    value: Any
    source: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One pommel.toml, read and checked for shape; `path` is None when there is none."""

    path: Path | None
    text: str
    machines: Mapping[str, Mapping[str, Any]]
    upstream: Mapping[str, Any] = field(default_factory=dict)
    mcp: Mapping[str, Any] = field(default_factory=dict)  # app.mcp.permissions checks its shape

    def where(self, machine: str, key: str) -> str:
        """`FILE:LINE` of a key, found by its text."""
        return f"{self.path}:{_line_of(self.text, machine, key)}"


def resolve(
    settings: Sequence[Setting],
    file: ConfigFile,
    machine: str,
    *,
    env: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Value]:
    """The value of every setting for `machine`, with its source. `defaults` are already parsed.

    Raises:
        ConfigError: an unknown key, or a value that its setting refuses.
    """
    table = file.machines.get(machine, {})
    known = [setting.key for setting in settings]
    for key in table:
        if key not in known:
            raise ConfigError(
                f"{file.where(machine, key)}: unknown key {key!r} in [machine.{machine}]",
                hint=_nearest(key, known),
            )
    found: dict[str, Value] = {}
    for setting in settings:
        key = setting.key
        found[key] = Value((defaults or {}).get(key, setting.default), "default")
        if key in table:
            where = file.where(machine, key)
            found[key] = Value(_parsed(setting, table[key], f"{where}: {key}"), "file", where)
        if setting.env in env:
            found[key] = Value(_parsed(setting, env[setting.env], setting.env), "environment", setting.env)
        if flags and flags.get(key) is not None:
            name = "--" + key.replace("_", "-")
            found[key] = Value(_parsed(setting, flags[key], name), "flag", name)
    return found


def parse_text(raw: Any) -> str:
    """A non-empty string."""
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError("a text")
    return raw


def parse_texts(raw: Any) -> tuple[str, ...]:
    """A list of strings; from the environment or a flag, one string split at blanks."""
    words = raw.split() if isinstance(raw, str) else raw
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise ValueError('a list of texts, such as ["-device", "usb-mouse"]')
    return tuple(words)


def parse_flags(raw: Any) -> tuple[str, ...]:
    """A list of CPU flags, each with a sign; a string may separate them by commas or blanks."""
    words = raw.replace(",", " ").split() if isinstance(raw, str) else raw
    if not isinstance(words, list | tuple) or not all(
        isinstance(word, str) and re.fullmatch(r"[+-][a-z0-9._-]+", word) for word in words
    ):
        raise ValueError('CPU flags, each with a sign, such as ["+avx2", "-hle"]')
    return tuple(words)


def parse_table(raw: Any) -> Mapping[str, str]:
    """A table of variables and their values; from the environment or a flag, words such as `RAM=8192 DEBUG=1`."""
    if isinstance(raw, str):
        raw = dict(word.partition("=")[::2] for word in raw.split())
    if not isinstance(raw, Mapping) or not all(
        isinstance(key, str) and re.fullmatch(r"[A-Za-z_]\w*", key) and isinstance(value, str) and "\0" not in value
        for key, value in raw.items()
    ):
        raise ValueError('a table of variables and texts, such as { RAM = "8192" }')
    return dict(raw)


def parse_words_of(*allowed: str) -> Callable[[Any], tuple[str, ...]]:
    """A list of a few known words; a string may separate them by commas or blanks."""

    def parse(raw: Any) -> tuple[str, ...]:
        words = raw.replace(",", " ").split() if isinstance(raw, str) else raw
        if not isinstance(words, list | tuple) or not all(word in allowed for word in words):
            raise ValueError("a list of " + ", ".join(allowed))
        return tuple(dict.fromkeys(words))

    return parse


def parse_positive(raw: Any) -> int:
    """A whole number from 1 up."""
    number = _number(raw)
    if number is None or number < 1:
        raise ValueError("a whole number from 1 up")
    return number


def parse_port(raw: Any) -> int:
    """A TCP port from 1 to 65535."""
    number = _number(raw)
    if number is None or not 1 <= number <= 65535:
        raise ValueError("a port from 1 to 65535")
    return number


def parse_bool(raw: Any) -> bool:
    """Yes or no; from the environment as a word."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    found = raw if isinstance(raw, bool) else words.get(raw.strip().lower()) if isinstance(raw, str) else None
    if found is None:
        raise ValueError("true or false")
    return found


def parse_seconds(raw: Any) -> float:
    """A time in seconds, 0 or more."""
    try:
        number = float(raw) if not isinstance(raw, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1e6:
        raise ValueError("a number of seconds")
    return number


def parse_size(raw: Any) -> int:
    """A size in bytes with a unit; units are powers of 1024. A number without a unit is refused as ambiguous."""
    match = _SIZE.match(raw.strip()) if isinstance(raw, str) else None
    if match is None or not match[2]:
        raise ValueError("a size with a unit, such as 8G or 512M")
    size = int(float(match[1]) * _UNITS[match[2].upper()])
    if size < 1 << 20:
        raise ValueError("at least 1M")
    return size


def choice(*allowed: str) -> Callable[[Any], str]:
    """One of a few words."""

    def parse(raw: Any) -> str:
        if raw not in allowed:
            near = difflib.get_close_matches(str(raw), allowed, n=1)
            raise ValueError("one of " + ", ".join(allowed) + (f" (did you mean {near[0]}?)" if near else ""))
        return str(raw)

    return parse


def format_size(size: int) -> str:
    """A size for people, with the largest suitable unit."""
    value, unit = float(size), "B"
    for name in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, name
    return f"{value:.0f} {unit}" if value == int(value) or value >= 100 else f"{value:.1f} {unit}"


def _number(raw: Any) -> int | None:
    if isinstance(raw, bool):
        return None
    if isinstance(raw, int):
        return raw
    return int(raw) if isinstance(raw, str) and re.fullmatch(r"\d{1,9}", raw.strip()) else None


def _parsed(setting: Setting, raw: Any, place: str) -> Any:
    try:
        return setting.parse(raw)
    except ValueError as wanted:
        raise ConfigError(f"{place} must be {wanted}, not {raw!r}", hint=setting.help) from None


def _nearest(key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(key, names, n=1)
    return (f"did you mean {near[0]}? " if near else "") + "known keys: " + ", ".join(names)


def _line_of(text: str, machine: str, key: str) -> int:
    """Line of `key` in [machine.NAME]; tomllib tells no positions, so this looks for the usual spelling."""
    lines = _lines(text)
    return lines.get((machine, key)) or lines.get((machine, "")) or 1


@lru_cache(maxsize=4)
def _lines(text: str) -> dict[tuple[str, str], int]:
    """The line of each key of each [machine.NAME] in a file, and under "" that of its header."""
    found: dict[tuple[str, str], int] = {}
    inside: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            header = _HEADER.match(line)
            inside = header[1] if header else None
            if inside is not None:
                found[inside, ""] = number
        elif inside is not None and (key := _KEY.match(line)):
            found.setdefault((inside, key[1]), number)
    return found
