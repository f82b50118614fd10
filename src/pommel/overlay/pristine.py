"""The upstream without anything of the user's: its commit laid out in a folder of its own. Band: shell.

On that copy the user's patches and files can be put one after the other, to see what each of them changes. The
checkout itself is only read.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pommel.errors import CommandFailed
from pommel.overlay.files import Wanted
from pommel.overlay.git import git
from pommel.overlay.journal import AppliedPatch
from pommel.overlay.undo import place

__all__ = ["apply", "laid_out", "put"]

_LACKS = re.compile(r"error: unable to read sha1 file of ")


@contextlib.contextmanager
def laid_out(checkout: Path, commit: str) -> Iterator[Path]:
    """Yield a folder with the files of `commit`, which is gone when the block ends.

    The folder has the checkout's name, since a script may look at that of its own.

    Raises:
        CommandFailed: git cannot lay them out, for one because the disk is full.
        MissingProgram: git is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="pommel-pristine.") as made:
        folder = Path(made).resolve() / checkout.name
        folder.mkdir()
        # An index of its own: the checkout's is not touched, and nothing is fetched that is not here.
        env = {"GIT_INDEX_FILE": str(folder.parent / "index"), "GIT_NO_LAZY_FETCH": "1"}
        git(checkout, "read-tree", commit, env=env)
        done = git(checkout, "checkout-index", "--all", "--force", f"--prefix={folder}/", env=env, check=False)
        if done.returncode != 0 and not _only_lacks_objects(done.output):
            raise CommandFailed(done.argv, done.returncode, done.output)
        yield folder


def _only_lacks_objects(output: str) -> bool:
    """Whether all that failed is files whose contents are not in the repository, as in a clone that was cut short.

    The others are laid out then. A script that needs one of these files fails, and says so.
    """
    lines = output.splitlines()
    return bool(lines) and all(_LACKS.match(line) for line in lines)


def apply(folder: Path, patch: AppliedPatch) -> bool:
    """Apply a patch to the laid-out files, and say whether it applied. One that does not changes nothing."""
    # The ceiling keeps git from taking a repository further up for the one that the folder belongs to.
    env = {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    return git(folder, "apply", "-", input=patch.text.encode(), env=env, check=False).returncode == 0


def put(folder: Path, name: str, wanted: Wanted) -> None:
    """Place a file of the config repo among the laid-out files.

    Raises:
        UpstreamError: it would land elsewhere, through a symbolic link of the upstream's.
    """
    place(folder, name, wanted.data, wanted.mode)
