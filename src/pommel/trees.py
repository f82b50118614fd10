"""Directories removed for good. Band: shared ground."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it, if it is there; what cannot be removed stays, without an error.

    A program that a killed one had begun may still be at work in it, as git is for a moment, and make a file anew
    behind us: then it is removed again, for most of a second.
    """
    shutil.rmtree(path, ignore_errors=True)
    for pause_s in _PAUSES_S:
        if not os.path.lexists(path):
            return
        time.sleep(pause_s)
        shutil.rmtree(path, ignore_errors=True)


def drop(path: Path) -> None:
    """Remove a directory as `remove_tree` does; of a link to one, the link."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        remove_tree(path)
