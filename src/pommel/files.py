"""Writes a file, or builds a folder, under a temporary name and renames it. Band: shared ground.

Both are private to this user by default; see `private`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pommel import private
from pommel.trees import drop, remove_tree

# The suffix after the target's name. It has no dots except before "old", because `a.building.x` is a valid machine
# name.
_ASIDE = r"\.building\.[a-z0-9_]+(\.old)?\Z"
_SYNCS_NO_FOLDER = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # some foreign file systems cannot sync a folder


def write_atomic(path: Path, data: bytes | str, *, mode: int = private.FILE) -> None:
    """Write a file completely or not at all, even at a power cut: temporary file, sync, rename, sync of the folder.

    It is for this user alone unless `mode` says otherwise. Missing folders are made as `mode` is: private, or as the
    umask says where others may read the file.
    """
    if mode & private.OTHERS:
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        private.make_folder(path.parent)
    fd, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(data.encode() if isinstance(data, str) else data)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        put_in_place(Path(aside), path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def users_mode(mode: int = 0o666) -> int:
    """The mode of a file that is made for the user and not for Pommel: it follows the user's umask."""
    try:
        told = Path("/proc/self/status").read_text()
        umask = next(int(line.split()[1], 8) for line in told.splitlines() if line.startswith("Umask:"))
    except (OSError, StopIteration):  # no /proc: os.umask() can only read it by changing it, also for other threads
        umask = 0o022
    return mode & ~umask


def put_in_place(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`, and sync the folder, so that the new name survives a power cut.

    Raises:
        FileExistsError: `target` is a device, a pipe or a socket, or a link to one: /dev/null must not become a file.
        OSError: it cannot be renamed.
    """
    with contextlib.suppress(FileNotFoundError):
        kind = stat.S_IFMT(target.stat().st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            raise FileExistsError(
                errno.EEXIST, "it is a device, a pipe or a socket, so it is not replaced", str(target)
            )
    aside.replace(target)
    fd = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as refusal:
        if refusal.errno not in _SYNCS_NO_FOLDER:
            raise
    finally:
        os.close(fd)


@contextlib.contextmanager
def build_aside(target: Path) -> Iterator[Path]:
    """Yield an empty directory beside `target`; when the block ends well it becomes `target`.

    A block that fails leaves nothing; a kill -9 leaves a `.NAME.building.*` directory that `sweep_aside` collects.
    The caller holds a lock if two may build the same thing at once. An existing `target` is replaced. All in it is
    for this user alone, whatever programs the block has made it with.
    """
    private.make_folder(target.parent)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.building.", dir=target.parent))
    try:
        yield aside
        private.close_tree(aside)
        if target.exists():
            old = aside.with_name(aside.name + ".old")
            target.rename(old)
            put_in_place(aside, target)
            drop(old)
        else:
            put_in_place(aside, target)
    except BaseException:
        remove_tree(aside)
        raise


def sweep_aside(target: Path) -> None:
    """Remove the folders that killed builds of `target` left. Call it with the build's lock held."""
    left = re.compile(rf"\.{re.escape(target.name)}{_ASIDE}")
    for path in target.parent.glob(".*.building.*"):
        if left.match(path.name) and path.is_dir():
            drop(path)


def is_aside(path: Path) -> bool:
    """Whether a name is that of a temporary folder of `build_aside`, for any target."""
    return re.match(rf"\..+{_ASIDE}", path.name) is not None and path.is_dir()
