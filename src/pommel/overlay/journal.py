"""What Pommel has laid over a checkout, as it remembers it. Band: shell.

Two JSON files in `.git/pommel/`: the patches that were applied, as they were, and the files that were placed. Without
them, a patch that the config repo has dropped or changed since could not be rolled back, and an upstream file that
was replaced could not be told from one that somebody edited. They name hashes: what a user changed is not ours.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pommel import json_file
from pommel.errors import UpstreamError
from pommel.overlay.undo import digest

PATCHES, FILES = ".git/pommel/patches.json", ".git/pommel/files.json"
ORIGINALS = ".git/pommel/originals"


@dataclass(frozen=True, slots=True)
class AppliedPatch:
    """A patch as it was when it was applied."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Patches:
    """The patches in the order they were applied; `left` maps each file they touch to its hash after the last."""

    applied: tuple[AppliedPatch, ...] = ()
    left: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file we placed: the hash and mode it got, and the mode of the upstream's file that it replaced, if one."""

    sha256: str
    mode: int
    original_mode: int | None


def read_patches(checkout: Path) -> Patches:
    """The patches that were applied."""
    found = _read(checkout / PATCHES)
    applied = tuple(AppliedPatch(**each) for each in found.get("applied", []))
    return Patches(applied, dict(found.get("left", {})))


def write_patches(checkout: Path, patches: Patches) -> None:
    """Remember them; the caller saved `PATCHES` before (`all_or_nothing`)."""
    json_file.write(checkout / PATCHES, asdict(patches), indent=1)


def read_files(checkout: Path) -> dict[str, PlacedFile]:
    """The files that were placed, by their path in the checkout."""
    return {name: PlacedFile(**each) for name, each in _read(checkout / FILES).items()}


def write_files(checkout: Path, files: dict[str, PlacedFile]) -> None:
    """Remember them; the caller saved `FILES` before (`all_or_nothing`)."""
    json_file.write(checkout / FILES, {name: asdict(each) for name, each in files.items()}, indent=1)


def left_by_us(checkout: Path) -> dict[str, str | None]:
    """The hash that each file which Pommel changed had when it was done with it; None for one it removed."""
    placed = {name: each.sha256 for name, each in read_files(checkout).items()}
    return {**read_patches(checkout).left, **placed}


def untouched_since(checkout: Path, name: str, left: dict[str, str | None]) -> bool:
    """Whether the file is one of ours and still as we left it."""
    return name in left and digest(checkout / name) == left[name]


def remembered(checkout: Path) -> set[str]:
    """Every path that undoing all of it would touch, the journals and the kept originals with them."""
    originals = {f"{ORIGINALS}/{name}" for name in read_files(checkout)}
    return {PATCHES, FILES, *originals, *left_by_us(checkout)}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as wrong:
        raise UpstreamError(
            f"{path} cannot be read: {wrong}", hint=f"start again from the beginning: rm -r {path.parents[2]}"
        ) from wrong
    return dict(found)
