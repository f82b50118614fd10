"""The two ways a file comes to be: written whole, or built aside. Band: shared ground.

Both are for this user alone where nobody says otherwise; see `private`.
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

# What follows the target's name. No dots but before "old": `a.building.x` is a machine's name too.
_ASIDE = r"\.building\.[a-z0-9_]+(\.old)?\Z"
_SYNCS_NO_FOLDER = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)  # file systems of other systems; theirs to keep names


def write_atomic(path: Path, data: bytes | str, *, mode: int = private.FILE) -> None:
    """Write a file whole or not at all, over a power cut too: beside, synced, renamed over, its folder synced.

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
    """The mode of a file that is made where the user wants it, and not for Pommel: as their umask says."""
    try:
        told = Path("/proc/self/status").read_text()
        umask = next(int(line.split()[1], 8) for line in told.splitlines() if line.startswith("Umask:"))
    except (OSError, StopIteration):  # no /proc: os.umask() can only tell by changing it, for other threads too
        umask = 0o022
    return mode & ~umask


def put_in_place(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`, and have that last: the name is in the folder, which is synced for itself.

    Raises:
        FileExistsError: `target` is a device, a pipe or a socket, or leads to one: /dev/null is not to become a file.
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
    """Remove what killed builds of `target` left, and nothing else's. Call it with the build's lock held."""
    left = re.compile(rf"\.{re.escape(target.name)}{_ASIDE}")
    for path in target.parent.glob(".*.building.*"):
        if left.match(path.name) and path.is_dir():
            drop(path)


def is_aside(path: Path) -> bool:
    """Whether it is what `build_aside` makes and a kill leaves, of whatever target."""
    return re.match(rf"\..+{_ASIDE}", path.name) is not None and path.is_dir()
