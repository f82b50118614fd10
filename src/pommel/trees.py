"""Removes trees of files. Band: shared ground."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

_PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)


def remove_tree(path: Path) -> None:
    """Remove a directory with everything in it, if it exists; files that cannot be removed stay, without an error.

    A child of a killed program, such as git, may still work in it for a moment and create files behind us. So it is
    removed again, for most of a second.
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
