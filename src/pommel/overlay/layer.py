"""A temporary copy of an upstream's folder, into which its script may write. Band: shell.

Small files are copied. Of a large one only the beginning is copied: the rest is a hole of the same length, so that
a script can check its existence, its size and its image format, and nothing that it does reaches the real one.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

_WHOLE_MAX = 8 << 20  # bytes of a file that is copied completely: firmware, scripts, configuration
_BEGINNING = 64 << 10  # bytes of a larger one: it has the headers of disk images
_COPIED_MAX = 256 << 20  # total bytes that are copied
_ENTRIES_MAX = 20_000  # a folder with more is not an upstream's; further entries are not in the copy
_LEFT_OUT = (".git", ".hg", ".venv", "node_modules")


@dataclass(slots=True)
class _Budget:
    bytes_left: int = _COPIED_MAX
    entries_left: int = _ENTRIES_MAX
    made: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Layer:
    """The copy: `folder` replaces the upstream's folder; `made` are the initial paths in it."""

    folder: Path
    made: frozenset[str]

    def created(self) -> tuple[str, ...]:
        """The paths that the script has made since, relative to the folder, in order."""
        found = (str(path.relative_to(self.folder)) for path in sorted(self.folder.rglob("*")))
        return tuple(name for name in found if name not in self.made)


def lay(upstream: Path, folder: Path, script: str) -> Layer:
    """Copy `upstream` to the new `folder`. The script becomes executable: people may start it by its interpreter.

    Raises:
        OSError: the disk is full, or a file of the upstream cannot be read.
    """
    budget = _Budget()
    folder.mkdir()
    _copy(str(upstream), str(folder), "", budget)
    own = folder / script
    if not own.exists() and (upstream / script).is_file():  # the limits left it out
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(upstream / script, own)
        budget.made.add(script)
    if own.is_file() and not own.is_symlink():
        own.chmod(own.stat().st_mode | 0o700)
    return Layer(folder, frozenset(budget.made))


def _copy(source: str, target: str, below: str, budget: _Budget) -> None:
    folders = []
    for entry in _entries(source):
        if budget.entries_left <= 0:
            return
        budget.entries_left -= 1
        place = f"{target}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), place)  # noqa: PTH115, PTH211  (a path a file is what takes the time)
        elif entry.is_dir():
            os.mkdir(place, 0o700)  # noqa: PTH102
            if entry.name not in _LEFT_OUT:
                folders.append(entry.name)
        elif entry.is_file():
            _copy_file(entry, place, budget)
        else:  # a socket, a pipe, a device: a script need not read these
            continue
        budget.made.add(f"{below}{entry.name}")
    # Deep folders come last: a script needs them least.
    for folder in folders:
        _copy(f"{source}/{folder}", f"{target}/{folder}", f"{below}{folder}/", budget)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except PermissionError:
        return []


def _copy_file(entry: os.DirEntry[str], target: str, budget: _Budget) -> None:
    about = entry.stat()
    whole = about.st_size <= min(_WHOLE_MAX, budget.bytes_left)
    count = about.st_size if whole else _BEGINNING
    budget.bytes_left -= min(count, about.st_size)
    writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 | (about.st_mode & 0o111))
    try:
        reading = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:  # the script could not read it either, but may check its existence
        os.fchmod(writing, 0)
    else:
        try:
            done = 0
            while done < count and (sent := os.sendfile(writing, reading, done, count - done)):
                done += sent
        finally:
            os.close(reading)
        if not whole:
            os.ftruncate(writing, about.st_size)
    finally:
        os.close(writing)
