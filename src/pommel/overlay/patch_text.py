"""The paths that a unified diff of git would touch, without applying it. Band: core, no I/O.

Only the paths and the hunks' positions are read; `git apply` checks the context. The lines of a hunk are counted,
because a removed line may look like a header ("-- a" removed is "--- a").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pommel.errors import ConfigError
from pommel.overlay.pins import check_inside

_HUNK = re.compile(r"@@ -([0-9]{1,18})(?:,([0-9]{1,18}))? \+([0-9]{1,18})(?:,([0-9]{1,18}))? @@")
_HEADER = re.compile(r"diff --git |--- |\+\+\+ ")
_ESCAPE = re.compile(rb'\\([0-7]{3}|[abtnvfr"\\])')
_LETTERS = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
_NOWHERE = "/dev/null"
_LINK_OR_MODULE = re.compile(r"(?:new file mode|new mode|deleted file mode|old mode) (?:120000|160000)")


@dataclass(frozen=True, slots=True)
class PatchText:
    """A patch's paths, in order and once each, and the lines at which its hunks begin in the old files."""

    paths: tuple[str, ...]
    hunks: tuple[tuple[str, int], ...]


def read_patch(name: str, text: str) -> PatchText:
    """Read the paths that the patch `name` touches (git-diff(1), "Generating patch text with -p").

    Raises:
        ConfigError: it touches nothing, ends within a hunk, leaves the checkout, or has changed line ends; the
            message names the patch.
    """
    paths: dict[str, None] = {}
    hunks: list[tuple[str, int]] = []
    current = ""
    lines = enumerate(text.removesuffix("\n").split("\n"), 1)
    for number, line in lines:
        # Git never ends these lines so, whatever line ends the files have.
        if line.endswith("\r") and _HEADER.match(line):
            raise ConfigError(f"{name}:{number}: it has Windows line ends", hint=f"sed -i 's/\\r$//' {name}")
        hunk = _HUNK.match(line)
        if hunk and current:
            hunks.append((current, int(hunk[1])))
            _skip_hunk(name, number, lines, int(hunk[2] or 1), int(hunk[4] or 1))
        elif _LINK_OR_MODULE.match(line):
            raise ConfigError(f"{name}:{number}: a patch may not touch symbolic links or submodules")
        elif line.startswith("GIT binary patch"):
            raise ConfigError(f"{name}:{number}: it changes a binary file", hint="put the whole file into files/")
        else:
            for path in _paths(line):
                current = check_inside(path, f"{name}:{number}")
                paths[current] = None
    if not paths:
        raise ConfigError(f"{name} is not a patch: it names no file", hint="write it with git diff, or delete it")
    return PatchText(tuple(paths), tuple(hunks))


def _skip_hunk(name: str, start: int, lines: Iterator[tuple[int, str]], old: int, new: int) -> None:
    while old > 0 or new > 0:
        number, line = next(lines, (start, None))
        kind = "\\" if line is None else (line[:1] or " ")  # an empty context line may have lost its space
        if line is None or kind not in " -+\\":
            raise ConfigError(f"{name}:{number}: the hunk of line {start} is incomplete")
        old -= kind in " -"
        new -= kind in " +"


def _paths(line: str) -> Iterator[str]:
    for start in ("--- ", "+++ "):
        if line.startswith(start):
            path = _unquoted(line[len(start) :])
            if path != _NOWHERE:
                yield _without_prefix(path)
    for start in ("rename from ", "rename to ", "copy from ", "copy to "):
        if line.startswith(start):
            yield _unquoted(line[len(start) :])
    if line.startswith("diff --git "):
        yield from _of_header(line[len("diff --git ") :])


def _of_header(both: str) -> Iterator[str]:
    """The path of a `diff --git` line with two equal names: the only path of a patch that changes a mode."""
    half = (len(both) - 1) // 2
    old, new = _unquoted(both[:half]), _unquoted(both[half + 1 :])
    if both[half : half + 1] == " " and _without_prefix(old) == _without_prefix(new):
        yield _without_prefix(new)


def _without_prefix(path: str) -> str:
    """Remove the first folder, as `git apply` does (-p1). A path without one is kept, to be refused or not found."""
    first, slash, rest = path.partition("/")
    return rest if slash and first else path


def _unquoted(path: str) -> str:
    """A path as git quotes it (core.quotePath); a tab ends a path with spaces."""
    if not (path.startswith('"') and path.rstrip().endswith('"')):
        return path.split("\t", 1)[0].rstrip("\r")
    raw = path.rstrip()[1:-1].encode()
    return _ESCAPE.sub(lambda m: _LETTERS.get(m[1]) or _octal(m[1]), raw).decode(errors="surrogateescape")


def _octal(digits: bytes) -> bytes:
    return bytes([int(digits, 8) & 0xFF]) if digits.isdigit() else digits
