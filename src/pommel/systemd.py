"""Quotes words for systemd's unit files. Band: core, no I/O.

systemd.syntax(7) for quotes, systemd.unit(5) for specifiers, systemd.service(5) for command lines. The rooms write the
units.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pommel.errors import UsageError

_NOT_IN_PROGRAMS = "\"'\\"
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_MEANINGS = {"%%": "%", **{escape: char for char, escape in _ESCAPES.items()}}
_ESCAPED = re.compile("|".join(map(re.escape, _MEANINGS)))


def quoted(word: str) -> str:
    """Quote one word, so that systemd reads it unchanged.

    Raises:
        UsageError: it has control characters, which a unit file cannot contain.
    """
    if any((ord(char) < 0x20 and char not in _ESCAPES) or char == "\x7f" for char in word):
        raise UsageError(f"a unit file cannot hold the control characters in {word!r}")
    if any("\ud800" <= char <= "\udfff" for char in word):
        raise UsageError(f"a unit file cannot hold {word!r}, which is not text")
    return '"' + literal("".join(_ESCAPES.get(char, char) for char in word)) + '"'


def environment_of(text: str) -> dict[str, str]:
    """The variables in a unit file of Pommel: one in each `Environment=` line, as `quoted` writes them."""
    found = {}
    for line in text.splitlines():
        if line.startswith('Environment="') and line.endswith('"'):
            name, _, value = _ESCAPED.sub(_meant, line[len('Environment="') : -1]).partition("=")
            found[name] = value
    return found


def _meant(escaped: re.Match[str]) -> str:
    return _MEANINGS[escaped[0]]


def literal(text: str) -> str:
    """Escape `%`, so that it begins no specifier."""
    return text.replace("%", "%%")


def command_line(words: Sequence[str]) -> str:
    """Write the value of an ExecStart=.

    Raises:
        UsageError: the first word is no absolute path, or systemd cannot start or hold what is asked for.
    """
    if not words or not words[0].startswith("/"):
        raise UsageError(f"a unit's command begins with an absolute path, unlike {' '.join(words)!r}")
    program, *rest = words
    if any(char in _NOT_IN_PROGRAMS for char in program):
        raise UsageError(
            f"systemd starts no program whose path has quotes or backslashes: {program}",
            hint="install pommel in a folder with a plainer name",
        )
    # `$` is expanded in arguments, never in the program's own path.
    return " ".join([quoted(program), *(quoted(word).replace("$", "$$") for word in rest)])
