"""Marks a folder as a home of Pommel. Band: shared ground.

HOME/.pommel-home     names the folders in it that were there before Pommel made anything
CACHE/homes/KEY       names a home that uses the cache; there may be several
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from pommel import private
from pommel.paths import Home, write_atomic
from pommel.sockets import key_of

# The folders that Pommel makes in a home.
FOLDERS = (
    "machines", "trial", "upstream", "recovery", "installers", "opencore", "images", "clip", "mesh", "pool", "run",
)  # fmt: skip
_NAME = ".pommel-home"
_PORTS = "ports.lock"


def mark(home: Home) -> None:
    """Mark a folder as a home, once, before anything is made in it.

    Raises:
        OSError: nothing can be made in it.
    """
    if marker(home.root).exists():
        return
    before = [name for name in FOLDERS if os.path.lexists(home.root / name)]
    write_atomic(marker(home.root), json.dumps({"a home of": "pommel", "there before": before}) + "\n")
    if [path.name for path in home.root.iterdir()] == [_NAME]:  # it has no other files
        home.root.chmod(private.FOLDER)
    with contextlib.suppress(OSError):  # a cache that cannot be written is not shared with other homes
        write_atomic(user(home), f"{home.root}\n")


def marked(home: Home) -> tuple[bool, frozenset[str]]:
    """Whether it is marked as a home, and its folders from before."""
    try:
        kept = json.loads(marker(home.root).read_bytes())
        return kept["a home of"] == "pommel", frozenset(map(str, kept["there before"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False, frozenset()


def guard(home: Home) -> list[Path]:
    """Make a home private to this user, and return the folders that remain open to others.

    It is fast if there is nothing to do, so that every command can call it. Files of others are not changed.

    Raises:
        NotPermitted: the home, a folder of Pommel's in it, or a machine belongs to another user.
    """
    if not home.root.is_dir():
        return []
    private.must_be_ours(home.root)
    machines = [path for path in home.machines.glob("*") if _is_machine(path)]
    is_marked, before = marked(home)
    inside = {path.name for path in home.root.iterdir()}
    alone = (is_marked or bool(machines)) and inside <= {*FOLDERS, _NAME, _PORTS}
    names = FOLDERS if alone else [name for name in FOLDERS if name not in before] if is_marked else []
    left = [folder for folder in (home.root / name for name in names) if folder.is_dir() and private.close(folder)]
    left += [folder for folder in machines if private.close(folder)]
    return left + ([home.root] if alone and private.close(home.root, below=False) else [])


def _is_machine(folder: Path) -> bool:
    """Whether it is a machine's folder, which may be a link to another drive; its owner is checked first."""
    try:
        private.must_be_ours(folder)
    except FileNotFoundError:  # a link to a drive that is not mounted now, or it was removed meanwhile
        return False
    return (folder / "machine.json").is_file()


def marker(root: Path) -> Path:
    """The mark of the home `root`."""
    return root / _NAME


def user(home: Home) -> Path:
    """The mark in the cache for this home."""
    return home.cache / "homes" / key_of(home.root)


def other_homes(home: Home) -> list[Path]:
    """The other existing homes that use the cache."""
    said = (path.read_text(errors="replace") for path in sorted(user(home).parent.glob("*")) if path.is_file())
    roots = (Path(text.strip()) for text in said)
    return [root for root in roots if root != home.root and marker(root).is_file()]
