"""The config repo's `files/**`: places them in the checkout, and removes them again. Band: shell.

If one of our files replaces an upstream's, that is saved in `.git/pommel/originals/` and restored when ours is removed.
A file that a user has edited in the checkout is never overwritten or removed: that is an error.

A caller that writes holds the checkout (`at_work`).
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import ConfigError, StateError
from pommel.overlay import journal
from pommel.overlay.journal import PlacedFile
from pommel.overlay.pins import check_inside
from pommel.overlay.undo import all_or_nothing, digest, inside
from pommel.overlay.undo import place as put

FOLDER = "files"


class FileStanding(enum.Enum):
    """The state of a file in the checkout."""

    PLACED = "placed"
    PENDING = "pending"
    OUTDATED = "outdated"  # files/ has another version than the placed one
    DROPPED = "dropped"  # files/ does not have it any more
    MODIFIED = "modified"  # edited in the checkout since
    MISSING = "missing"  # removed from the checkout since


@dataclass(frozen=True, slots=True)
class FileState:
    """A file, its state, and whether it replaces one of the upstream's."""

    name: str
    state: FileStanding
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class OverlayFile:
    """A file of the config repo: its contents, and 0o755 or 0o644."""

    data: bytes
    mode: int

    @property
    def sha256(self) -> str:
        """Its hash, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


def read(config: Path) -> dict[str, OverlayFile]:
    """The files of a config repo, by their path in the checkout.

    Raises:
        ConfigError: one is a symbolic link or not a regular file, cannot be read, or would be inside `.git`.
    """
    found = {}
    root = config / FOLDER
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ConfigError(f"{FOLDER}/{name} is not a regular file", hint="put the file itself there")
        if path.is_dir() or path.name == ".gitkeep":  # .gitkeep keeps an empty folder in git; it is not placed
            continue
        check_inside(name, FOLDER)
        try:
            found[name] = OverlayFile(path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)
        except OSError as failure:
            raise ConfigError(f"{FOLDER}/{name} cannot be read: {failure.strerror}") from failure
    return found


def status(checkout: Path, wanted: Mapping[str, OverlayFile]) -> list[FileState]:
    """The state of each file, including those that the config repo dropped, by name."""
    known = journal.read_files(checkout)
    return [
        FileState(name, _state(checkout, name, wanted.get(name), known.get(name)), _replaces(checkout, name, known))
        for name in sorted({*wanted, *known})
    ]


def place(checkout: Path, wanted: Mapping[str, OverlayFile]) -> list[FileState]:
    """Give the checkout the wanted files and no others of ours, all or none; return the states before.

    Raises:
        StateError: one was edited in the checkout after it was placed; nothing was changed.
        UpstreamError: one cannot be placed, because its path is a link or a folder; nothing was changed.
    """
    now = status(checkout, wanted)
    _refuse_edited(checkout, now)
    changes = {each.name for each in now if each.state is not FileStanding.PLACED}
    if not changes:
        return now
    known = journal.read_files(checkout)
    with all_or_nothing(checkout, _with_originals(changes)):
        for name in sorted(changes - set(wanted)):
            _take_away(checkout, name, known.pop(name))
        for name in sorted(changes & set(wanted)):
            known[name] = _put(checkout, name, wanted[name], known.get(name))
        journal.write_files(checkout, known)
    return now


def take_away(checkout: Path) -> list[str]:
    """Remove all placed files and restore those that they replaced, all or none; return the names.

    Raises:
        StateError: one was edited in the checkout after it was placed; nothing was changed.
    """
    return [each.name for each in place(checkout, {})]


def _state(checkout: Path, name: str, wanted: OverlayFile | None, known: PlacedFile | None) -> FileStanding:
    if known is None:
        return FileStanding.PENDING
    path = checkout / name
    if not path.exists() and not path.is_symlink():
        return FileStanding.DROPPED if wanted is None else FileStanding.MISSING
    if digest(path) != known.sha256:
        return FileStanding.MODIFIED
    if wanted is None:
        return FileStanding.DROPPED
    return FileStanding.PLACED if (wanted.sha256, wanted.mode) == (known.sha256, known.mode) else FileStanding.OUTDATED


def _replaces(checkout: Path, name: str, known: Mapping[str, PlacedFile]) -> bool:
    return known[name].original_mode is not None if name in known else (checkout / name).exists()


def _refuse_edited(checkout: Path, now: Iterable[FileState]) -> None:
    edited = [each.name for each in now if each.state is FileStanding.MODIFIED]
    if edited:
        raise StateError(
            f"edited in {checkout} after they were placed: {', '.join(edited)}",
            hint=f"copy what you want to keep to {FOLDER}/, then: rm {checkout / edited[0]}",
        )


def _put(checkout: Path, name: str, wanted: OverlayFile, known: PlacedFile | None) -> PlacedFile:
    path = inside(checkout, name)
    original = known.original_mode if known else None
    if known is None and path.exists():
        original = 0o755 if path.stat().st_mode & 0o100 else 0o644
        put(checkout, f"{journal.ORIGINALS}/{name}", path.read_bytes(), 0o644)
    put(checkout, name, wanted.data, wanted.mode)
    return PlacedFile(wanted.sha256, wanted.mode, original)


def _take_away(checkout: Path, name: str, known: PlacedFile) -> None:
    kept = f"{journal.ORIGINALS}/{name}"
    if known.original_mode is None:
        put(checkout, name, None, 0)
    else:
        put(checkout, name, (checkout / kept).read_bytes(), known.original_mode)
        put(checkout, kept, None, 0)


def _with_originals(names: Iterable[str]) -> set[str]:
    return {journal.FILES, *(path for name in names for path in (name, f"{journal.ORIGINALS}/{name}"))}
