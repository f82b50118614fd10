"""Pommel's records of what it has changed in a checkout. Band: shell.

Two JSON files in `.git/pommel/`: the applied patches with their text, and the placed files. Without them, a patch that
the config repo has dropped or changed since could not be rolled back, and a replaced upstream file could not be
distinguished from an edited one. They contain hashes: a file that a user changed is not ours.
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
    """A patch with the text with which it was applied."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Patches:
    """The patches in the order of their application; `left` maps each file they touch to its hash after the last."""

    applied: tuple[AppliedPatch, ...] = ()
    left: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A placed file: its hash and mode, and the mode of the upstream's file that it replaced, if there was one."""

    sha256: str
    mode: int
    original_mode: int | None


def read_patches(checkout: Path) -> Patches:
    """The applied patches."""
    found = _read(checkout / PATCHES)
    applied = tuple(AppliedPatch(**each) for each in found.get("applied", []))
    return Patches(applied, dict(found.get("left", {})))


def write_patches(checkout: Path, patches: Patches) -> None:
    """Write the patches; the caller has saved `PATCHES` before (`all_or_nothing`)."""
    json_file.write(checkout / PATCHES, asdict(patches), indent=1)


def read_files(checkout: Path) -> dict[str, PlacedFile]:
    """The placed files, by their path in the checkout."""
    return {name: PlacedFile(**each) for name, each in _read(checkout / FILES).items()}


def write_files(checkout: Path, files: dict[str, PlacedFile]) -> None:
    """Write the files; the caller has saved `FILES` before (`all_or_nothing`)."""
    json_file.write(checkout / FILES, {name: asdict(each) for name, each in files.items()}, indent=1)


def left_by_us(checkout: Path) -> dict[str, str | None]:
    """The hash of each file that Pommel changed, after its last change; None for a removed one."""
    placed = {name: each.sha256 for name, each in read_files(checkout).items()}
    return {**read_patches(checkout).left, **placed}


def untouched_since(checkout: Path, name: str, left: dict[str, str | None]) -> bool:
    """Whether the file is one of ours and unchanged."""
    return name in left and digest(checkout / name) == left[name]


def remembered(checkout: Path) -> set[str]:
    """Every path that a complete undo would touch, including the journals and the saved originals."""
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
