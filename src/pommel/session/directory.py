"""A directory that only its owner can write to, and the operations in it. Band: shell.

All operations use a descriptor of the directory, so that nobody can replace the directory meanwhile. A file in it is
only deleted by its exact name. The directory itself is never deleted, because launchd and systemd watch it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pommel.errors import NotPermitted, StateError

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_SYSTEM_GROUPS = (0, 1)  # root or wheel, and daemon, which may write to macOS's /var/run: nobody logs in as these


class SafeDirectory:
    """An open directory of Pommel. `path` is for calls that take no descriptor."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._fd = descriptor

    def names(self) -> list[str]:
        """The names of its entries, in order."""
        return sorted(os.listdir(self._fd))  # noqa: PTH208 - through the descriptor

    def mode_of(self, name: str) -> int | None:
        """The mode of an entry, including its kind; None if it does not exist."""
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes, *, mode: int, uid: int | None = None) -> None:
        """Write a whole file at `name`, for `uid` if given; an existing file is replaced, a directory moved aside."""
        aside = f".{name}.new"
        self.remove(aside)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=self._fd)
        try:
            with os.fdopen(fd, "wb") as out:
                out.write(data)
                out.flush()
                self._give(out.fileno(), mode, uid)
            self.move(aside, name)
        except BaseException:
            self.remove(aside)
            raise

    def adopt(self, name: str, *, mode: int, uid: int | None = None) -> None:
        """Set mode and owner of a new entry."""
        os.chmod(name, mode, dir_fd=self._fd)
        if uid is not None and uid != os.geteuid():
            os.chown(name, uid, -1, dir_fd=self._fd, follow_symlinks=False)

    def move(self, name: str, to: str) -> None:
        """Rename, and replace the entry at `to`; a directory there cannot be replaced, so it is moved aside."""
        there = self.mode_of(to)
        if there is not None and stat.S_ISDIR(there):
            os.rename(to, self._free(f"{to}.squatted"), src_dir_fd=self._fd, dst_dir_fd=self._fd)
        os.rename(name, to, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    @contextlib.contextmanager
    def listening(self, name: str, *, backlog: int, uid: int | None = None) -> Iterator[socket.socket]:
        """Listen on a socket for one user; its name exists once it listens, and is removed after the block.

        Raises:
            OSError: the directory cannot be written to.
        """
        aside = f".{name}.new"
        self.remove(aside)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.setblocking(False)
                # Nobody can connect before listen(2), so that bind's own mode does no harm.
                listener.bind(str(self.path / aside))
                self.adopt(aside, mode=0o600, uid=uid)
                listener.listen(backlog)
                self.move(aside, name)
                yield listener
        finally:
            self.remove(name)

    def remove(self, name: str) -> bool:
        """Remove the entry `name`; return whether it existed. A directory stays.

        Raises:
            StateError: it is a directory.
        """
        there = self.mode_of(name)
        if there is None:
            return False
        if stat.S_ISDIR(there):
            raise StateError(
                f"{self.path / name} is a directory, but a file of Pommel belongs there",
                hint=f"check it, then: rm -r {self.path / name}",
            )
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)
        return True

    def close(self) -> None:
        """Close the descriptor; the directory stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @staticmethod
    def _give(fd: int, mode: int, uid: int | None) -> None:
        os.fchmod(fd, mode)
        if uid is not None and uid != os.geteuid():
            os.fchown(fd, uid, -1)
        os.fsync(fd)

    def _free(self, name: str) -> str:
        taken, count = set(self.names()), 1
        while f"{name}-{count}" in taken:
            count += 1
        return f"{name}-{count}"


@contextlib.contextmanager
def safe_directory(where: PurePosixPath, *, mode: int | None) -> Iterator[SafeDirectory]:
    """Open a directory of ours during the block; with `mode` it is made if it is missing, and gets that mode.

    Raises:
        NotPermitted: it, or the one above it, is not a directory, is another user's, or others may write to it.
        StateError: the directory above it does not exist.
    """
    path = Path(where)
    _check_above(path.parent)
    made = mode is not None and _make(path)
    directory = SafeDirectory(path, _opened(path))
    try:
        _check_own(directory, mode, made)
        yield directory
    finally:
        directory.close()


def _make(path: Path) -> bool:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as refusal:
        raise _unsafe(path, "is not a directory of Pommel") from refusal


def _check_above(parent: Path) -> None:
    try:
        found = parent.stat()
    except FileNotFoundError:
        raise StateError(f"there is no {parent}") from None
    if found.st_uid not in (0, os.geteuid()):
        raise _unsafe(parent, f"belongs to uid {found.st_uid}")
    others = found.st_mode & _WRITABLE_BY_OTHERS
    if found.st_gid in _SYSTEM_GROUPS:
        others &= ~stat.S_IWGRP
    # In a sticky directory others may make entries, but not move or remove ours.
    if others and not found.st_mode & stat.S_ISVTX:
        raise _unsafe(parent, "can be written by other users")


def _check_own(directory: SafeDirectory, mode: int | None, made: bool) -> None:
    found = os.fstat(directory._fd)
    if found.st_uid != os.geteuid():
        raise _unsafe(directory.path, f"belongs to uid {found.st_uid}")
    if not made and found.st_mode & _WRITABLE_BY_OTHERS:
        raise _unsafe(directory.path, "can be written by other users")
    if mode is not None and stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(directory._fd, mode)


def _unsafe(path: Path, what: str) -> NotPermitted:
    return NotPermitted(f"{path} {what}", hint=f"check it: ls -ld {path}; move it away, and start the daemon again")
