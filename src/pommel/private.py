"""Folders and files that are for this user alone, whatever the umask says. Band: shared ground.

A folder of Pommel's has the mode 0700, a file 0600. What was made wider once is made so when it is used, and what
belongs to another user is refused: who owns a machine's folder decides what its QEMU reads and runs. What belongs to
root passes, as root can do anything here anyway.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pommel.errors import NotPermitted

FOLDER = 0o700
FILE = 0o600
UMASK = 0o077
OTHERS = 0o077
_OTHERS_WRITE = 0o022

tightened: list[Path] = []  # what this process has found open to others and closed, for the face to tell


def make_folder(folder: Path) -> None:
    """Make `folder` and what of its parents is missing, each 0700; what is there stays as it is.

    Raises:
        OSError: it cannot be made, or something else is there.
    """
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    for part in reversed(missing):
        part.mkdir(mode=FOLDER, exist_ok=True)  # `parents` would make these as the umask says
    if not missing and not folder.is_dir():
        folder.mkdir()  # raises, and says what is there


def appended(path: Path) -> BinaryIO:
    """Open a file that grows at its end; a new one is 0600."""
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, FILE))


def written(path: Path) -> BinaryIO:
    """Open a file to write it anew; a new one is 0600."""
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, FILE))


def make_strict(folder: Path, *, hint: str) -> None:
    """Make a folder as `make_folder` does, and see that nobody else has, or had, a hand in it.

    Raises:
        NotPermitted: it is a link, somebody else owns it, or others may write to it; `hint` says what to do.
    """
    make_folder(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
        raise NotPermitted(f"{folder} is not a directory that only you can write to", hint=hint)
    folder.chmod(FOLDER)


def must_be_ours(path: Path) -> None:
    """See that neither `path`, which may be a link, nor what it leads to belongs to another user.

    Raises:
        NotPermitted: one of them does.
        FileNotFoundError: there is none, or nothing where the link leads.
    """
    for found in (path.lstat(), path.stat()):
        if found.st_uid not in (os.geteuid(), 0):
            raise NotPermitted(
                f"{path} belongs to uid {found.st_uid}, not to you (uid {os.geteuid()}), and is not used",
                hint=f"check it; to make it yours: sudo chown -R -H {os.geteuid()} {shlex.quote(str(path))}; else "
                "move it away, or set POMMEL_HOME to another folder",
            )


def close_tree(top: Path) -> None:
    """Make all below the folder `top`, and the folder, this user's alone; it must belong to this user.

    A link is left alone with what it leads to, and so is a file with a second name, which may be somebody's elsewhere.

    Raises:
        NotPermitted: something in it belongs to another user; then the folder has its old mode again, so that the next
            call refuses too.
    """
    before = stat.S_IMODE(top.stat().st_mode)
    top.chmod(FOLDER)  # first: from here on nobody else puts anything in
    try:
        found = list(_below(top))
        for path, _ in found:
            if not path.is_symlink():
                must_be_ours(path)
            elif path.lstat().st_uid not in (os.geteuid(), 0):
                raise NotPermitted(f"the link {path} belongs to another user", hint=f"check it, then: rm {path}")
    except NotPermitted:
        top.chmod(before)
        raise
    for path, about in found:
        is_plain = stat.S_ISREG(about.st_mode) and about.st_nlink == 1
        if (is_plain or stat.S_ISDIR(about.st_mode)) and about.st_uid == os.geteuid() and about.st_mode & OTHERS:
            path.chmod(stat.S_IMODE(about.st_mode) & ~OTHERS)


def close(folder: Path, *, below: bool = True) -> bool:
    """Make a folder of ours private, with all in it, if it is not; return whether others can still enter.

    They can where it is root's, and where the file system keeps no modes.

    Raises:
        NotPermitted: it, or something in it, belongs to another user.
    """
    must_be_ours(folder)
    about = folder.stat()
    if not about.st_mode & OTHERS:
        return False
    if about.st_uid != os.geteuid():
        return True
    with contextlib.suppress(OSError):  # a read-only file system, or one of another system's
        if below:
            close_tree(folder)
        else:
            folder.chmod(FOLDER)
    if folder.stat().st_mode & OTHERS:
        return True
    tightened.append(folder)
    return False


def _below(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for where, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(where, name)
            try:
                yield path, path.lstat()
            except FileNotFoundError:  # removed meanwhile, as what is made aside is
                continue
