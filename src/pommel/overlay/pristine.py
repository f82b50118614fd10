"""The unchanged upstream: the files of its commit in a temporary folder. Band: shell.

On this copy the user's patches and files can be applied one after the other, to see what each of them changes. The
checkout itself is only read.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pommel.errors import CommandFailed
from pommel.overlay.files import OverlayFile
from pommel.overlay.git import git
from pommel.overlay.journal import AppliedPatch
from pommel.overlay.undo import place

__all__ = ["apply", "laid_out", "put"]

_LACKS = re.compile(r"error: unable to read sha1 file of ")


@contextlib.contextmanager
def laid_out(checkout: Path, commit: str) -> Iterator[Path]:
    """Yield a folder with the files of `commit`; it is removed when the block ends.

    The folder has the checkout's name, because a script may use the name of its own folder.

    Raises:
        CommandFailed: git cannot write the files, for example because the disk is full.
        MissingProgram: git is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="pommel-pristine.") as made:
        folder = Path(made).resolve() / checkout.name
        folder.mkdir()
        # A separate index: the checkout's is not changed, and missing objects are not fetched.
        env = {"GIT_INDEX_FILE": str(folder.parent / "index"), "GIT_NO_LAZY_FETCH": "1"}
        git(checkout, "read-tree", commit, env=env)
        done = git(checkout, "checkout-index", "--all", "--force", f"--prefix={folder}/", env=env, check=False)
        if done.returncode != 0 and not _only_lacks_objects(done.output):
            raise CommandFailed(done.argv, done.returncode, done.output)
        yield folder


def _only_lacks_objects(output: str) -> bool:
    """Whether only files failed whose contents are not in the repository, as in an incomplete clone.

    The others are written then. A script that needs one of these files fails, with a message.
    """
    lines = output.splitlines()
    return bool(lines) and all(_LACKS.match(line) for line in lines)


def apply(folder: Path, patch: AppliedPatch) -> bool:
    """Apply a patch to the files in the folder; return whether it fits. One that does not changes nothing."""
    # The ceiling prevents git from using a repository further up.
    env = {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    return git(folder, "apply", "-", input=patch.text.encode(), env=env, check=False).returncode == 0


def put(folder: Path, name: str, wanted: OverlayFile) -> None:
    """Place a file of the config repo among the files in the folder.

    Raises:
        UpstreamError: a symbolic link of the upstream would lead it elsewhere.
    """
    place(folder, name, wanted.data, wanted.mode)
