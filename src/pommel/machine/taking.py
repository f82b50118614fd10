"""Takes an image over from another tool: finds its users, copies it completely, moves it. Band: shell.

QEMU locks single bytes of an image for its use (block/file-posix.c): 100 + n for each permission that it has, 200 + n
for each that it denies to others; n is 1 for writing, 3 for resizing. A lock on byte 201 prevents every QEMU from
writing; a lock on byte 101 belongs to a writer. The locks belong to open files, and are visible through containers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pommel import private
from pommel.errors import BuildError, StateError
from pommel.machine.copying import clone_blocks
from pommel.machine.disk import check_room
from pommel.progress import Progress, Report, ignore

Ready = Callable[[os.stat_result], None]
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux
_MAY_WRITE, _DENIES_WRITE = 101, 201
_PIECE = 8 << 20
_SLACK_BYTES = 16 << 20
_TELL_EVERY = 16  # pieces


def user_of(path: Path) -> str | None:
    """The present writers of the image `path`, in words; None: none is visible."""
    writers = _open_for_writing(path)
    if _locked_at(path, _MAY_WRITE) or writers:
        return ", ".join(writers) or "another process that you have no permission to see (in a container, or of root)"
    return None


@contextlib.contextmanager
def kept_still(path: Path) -> Iterator[None]:
    """Prevent every QEMU from writing to the image `path` during the block.

    Raises:
        StateError: a process writes to it now.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # on a file system without locks QEMU cannot lock either
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, _DENIES_WRITE, 1, 0))
        refuse_if_used(path)
        yield
    finally:
        os.close(fd)


def refuse_if_used(path: Path) -> None:
    """Check that no process writes to the image `path`.

    Raises:
        StateError: one does; the message names it.
    """
    if (user := user_of(path)) is not None:
        raise StateError(f"{path} is in use by {user}", hint="shut that machine down first, in the tool that runs it")


def copy_image(source: Path, target: Path, *, report: Report = ignore, ready: Ready | None = None) -> None:
    """Copy the whole file `source`, with its holes, to `target`, which then exists completely or not at all.

    Blocks are shared if the file system supports it; otherwise the copy is read again and compared. Hold
    `kept_still(source)`. `ready` gets the status of the complete copy before it has its name; then no blocks are
    shared.

    Raises:
        BuildError: there is not enough space, the copy is not equal, or the source changed meanwhile.
    """
    before = source.stat()
    if ready is None and clone_blocks(source, target):
        report(Progress("copy", f"{target.name} shares its blocks with {source.name}", finished=True))
        return
    for left in target.parent.glob(f".{target.name}.aside.*"):
        left.unlink(missing_ok=True)
    check_room(target.parent, before.st_blocks * 512 + _SLACK_BYTES)
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.aside.", dir=target.parent)
    aside = Path(name)
    try:
        with os.fdopen(fd, "r+b", buffering=0) as new, source.open("rb", buffering=0) as old:
            _copy(old.fileno(), new.fileno(), before.st_size, f"copying {source.name}", report)
            os.fsync(new.fileno())
            _compare(old.fileno(), new.fileno(), source, report)
        after = source.stat()
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise BuildError(f"{source} changed while it was copied, and the copy was deleted")
        if ready is not None:
            ready(aside.stat())
        aside.replace(target)
    except OSError as failure:
        raise BuildError(f"{target} cannot be written: {failure}") from failure
    finally:
        aside.unlink(missing_ok=True)
    report(Progress("copy", f"{source.name} is copied, and the copy is equal to it", finished=True))


def move_image(source: Path, target: Path, *, report: Report = ignore) -> None:
    """Move the file `source` to `target`: at every moment one of the two names has the complete file.

    Raises:
        BuildError: as `copy_image`, if the two are on different drives.
    """
    try:
        source.rename(target)
    except OSError as failure:
        if failure.errno != errno.EXDEV:
            raise BuildError(f"{source} cannot be moved: {failure}") from failure
        copy_image(source, target, report=report)
        source.unlink()
    target.chmod(private.FILE)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that renames in it survive a power failure."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _locked_at(path: Path, byte: int) -> bool:
    with path.open("rb") as file:
        question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
        try:
            told = fcntl.fcntl(file.fileno(), fcntl.F_OFD_GETLK, question)
        except OSError:
            return False
    return bool(_FLOCK.unpack(told)[0] != fcntl.F_UNLCK)


def _open_for_writing(path: Path) -> list[str]:
    """The processes that have the file open for writing, as far as this user can see."""
    wanted, found = path.stat(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            for fd in (process / "fd").iterdir():
                seen = fd.stat()
                if (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino) and _writes(process, fd.name):
                    found.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
                    break
        except OSError:
            continue
    return found


def _writes(process: Path, fd: str) -> bool:
    for line in (process / "fdinfo" / fd).read_text().splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _copy(old: int, new: int, size: int, text: str, report: Report) -> None:
    os.ftruncate(new, size)
    for count, (start, piece) in enumerate(_data(old, size)):
        if count % _TELL_EVERY == 0:
            report(Progress("copy", text, start, size, "B"))
        os.lseek(new, start, os.SEEK_SET)
        view = memoryview(piece)
        while view:
            view = view[os.write(new, view) :]


def _compare(old: int, new: int, source: Path, report: Report) -> None:
    """Check that both files have the same contents, in the data of either; holes count as zeros."""
    size = os.fstat(new).st_size
    report(Progress("verify", f"comparing {source.name} with its copy"))
    for one, other in ((old, new), (new, old)):
        for start, piece in _data(one, size):
            if os.pread(other, len(piece), start) != piece:
                raise BuildError(f"the copy of {source} is not equal to it, and was deleted")
    report(Progress("verify", "the copy is equal", finished=True))


def _data(fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The pieces of a file that are not holes, with their offsets."""
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as failure:
            if failure.errno == errno.ENXIO:  # ENXIO: only a hole is left
                return
            raise
        end = os.lseek(fd, at, os.SEEK_HOLE)
        while at < end:
            piece = os.pread(fd, min(_PIECE, end - at), at)
            if not piece:
                return
            yield at, piece
            at += len(piece)
