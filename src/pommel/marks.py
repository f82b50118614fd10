"""What says that a folder is a home of Pommel's. Band: shared ground.

HOME/.pommel-home     names the folders in it that were there before Pommel made anything
CACHE/homes/KEY       names a home that uses the cache; there may be several
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from pommel.paths import Home, write_atomic
from pommel.sockets import key_of

# Those that Pommel makes in a home.
FOLDERS = ("machines", "trial", "upstream", "recovery", "opencore", "clip", "mesh", "run")
_NAME = ".pommel-home"


def mark(home: Home) -> None:
    """Say that this is a home, before anything is made in it. Done once.

    Raises:
        OSError: nothing can be made in it.
    """
    if marker(home.root).exists():
        return
    before = [name for name in FOLDERS if os.path.lexists(home.root / name)]
    write_atomic(marker(home.root), json.dumps({"a home of": "pommel", "there before": before}) + "\n")
    with contextlib.suppress(OSError):  # a cache that cannot be written is one that nobody shares
        write_atomic(user(home), f"{home.root}\n")


def marked(home: Home) -> tuple[bool, frozenset[str]]:
    """Whether it is marked as a home, and which of its folders were there before."""
    try:
        kept = json.loads(marker(home.root).read_bytes())
        return kept["a home of"] == "pommel", frozenset(map(str, kept["there before"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False, frozenset()


def marker(root: Path) -> Path:
    """The mark of the home `root`."""
    return root / _NAME


def user(home: Home) -> Path:
    """What says in the cache that this home uses it."""
    return home.cache / "homes" / key_of(home.root)


def other_homes(home: Home) -> list[Path]:
    """The other homes that use the cache and are still there."""
    said = (path.read_text(errors="replace") for path in sorted(user(home).parent.glob("*")) if path.is_file())
    roots = (Path(text.strip()) for text in said)
    return [root for root in roots if root != home.root and marker(root).is_file()]
