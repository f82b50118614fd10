"""Makes folders and files that are private to this user, with any umask. Band: shared ground.

A folder of Pommel has the mode 0700, a file 0600. Wider modes from earlier versions are corrected at use. Files of
another user are refused: the owner of a machine's folder decides what its QEMU reads and runs. Files of root are
accepted, because root can do anything on this host.
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

tightened: list[Path] = []  # folders that this process found open to others and made private; the face reports them


def make_folder(folder: Path) -> None:
    """Make `folder` and its missing parents, each 0700; existing folders are not changed.

    Raises:
        OSError: it cannot be made, or something else is there.
    """
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    for part in reversed(missing):
        part.mkdir(mode=FOLDER, exist_ok=True)  # with `parents`, the umask would decide their mode
    if not missing and not folder.is_dir():
        folder.mkdir()  # raises an error that names the existing file


def appended(path: Path) -> BinaryIO:
    """Open a file that grows at its end; a new one is 0600."""
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, FILE))


def written(path: Path) -> BinaryIO:
    """Open a file and empty it; a new one is 0600."""
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, FILE))


def make_strict(folder: Path, *, hint: str) -> None:
    """Make a folder as `make_folder` does, and check that no other user can, or could, write to it.

    Raises:
        NotPermitted: it is a link, another user owns it, or others can write to it; `hint` has the remedy.
    """
    make_folder(folder)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
        raise NotPermitted(f"{folder} is not a directory that only you can write to", hint=hint)
    folder.chmod(FOLDER)


def must_be_ours(path: Path) -> None:
    """Check that neither `path`, which may be a link, nor its target belongs to another user.

    Raises:
        NotPermitted: one of them does.
        FileNotFoundError: it does not exist, or the link is broken.
    """
    for found in (path.lstat(), path.stat()):
        if found.st_uid not in (os.geteuid(), 0):
            raise NotPermitted(
                f"{path} belongs to uid {found.st_uid}, not to you (uid {os.geteuid()}), and is not used",
                hint=f"check it; to make it yours: sudo chown -R -H {os.geteuid()} {shlex.quote(str(path))}; else "
                "move it away, or set POMMEL_HOME to another folder",
            )


def close_tree(top: Path) -> None:
    """Make the folder `top` and everything in it private to this user; it must belong to this user.

    Links and their targets are not changed; nor are files with a second hard link, which may be used elsewhere.

    Raises:
        NotPermitted: something in it belongs to another user; then the folder has its old mode again, so that the next
            call refuses too.
    """
    before = stat.S_IMODE(top.stat().st_mode)
    top.chmod(FOLDER)  # first: from here on no other user can add files
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
    """Make our folder private, with everything in it; return whether others can still enter.

    They can if it belongs to root, or if the file system has no modes.

    Raises:
        NotPermitted: it, or something in it, belongs to another user.
    """
    must_be_ours(folder)
    about = folder.stat()
    if not about.st_mode & OTHERS:
        return False
    if about.st_uid != os.geteuid():
        return True
    with contextlib.suppress(OSError):  # a read-only file system, or one without modes
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
            except FileNotFoundError:  # removed meanwhile, such as a temporary folder
                continue
