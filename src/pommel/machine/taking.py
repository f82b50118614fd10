"""Take an image of another tool's over: who has it open, a copy that keeps all of it, a move. Band: shell.

QEMU locks single bytes of an image by what it does with it (block/file-posix.c): 100 + n for each permission that it
has, 200 + n for each that it denies to others; 1 is to write, 3 to resize. Whoever holds byte 201 keeps every QEMU from
writing; who holds 101 writes. The locks are of open files, and seen through containers too.
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
    """Who writes to the image `path` now, in words; None: nobody that can be seen."""
    writers = _open_for_writing(path)
    if _locked_at(path, _MAY_WRITE) or writers:
        return ", ".join(writers) or "another process that you have no permission to see (in a container, or of root)"
    return None


@contextlib.contextmanager
def kept_still(path: Path) -> Iterator[None]:
    """Keep every QEMU from writing to the image `path` for the time of the block.

    Raises:
        StateError: somebody writes to it now.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: QEMU cannot lock there either
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, _DENIES_WRITE, 1, 0))
        refuse_if_used(path)
        yield
    finally:
        os.close(fd)


def refuse_if_used(path: Path) -> None:
    """See that nobody writes to the image `path`.

    Raises:
        StateError: somebody does; the message says who.
    """
    if (user := user_of(path)) is not None:
        raise StateError(f"{path} is in use by {user}", hint="shut that machine down first, in the tool that runs it")


def copy_image(source: Path, target: Path, *, report: Report = ignore, ready: Ready | None = None) -> None:
    """Copy the file `source` whole, holes as holes, to `target`, which is there afterwards or not at all.

    Blocks are shared where the file system can; a copy is read again and compared. Hold `kept_still(source)`. `ready`
    is told of the copy when it is whole and has another name still; then no blocks are shared.

    Raises:
        BuildError: there is too little room, the copy is not equal, or the source changed meanwhile.
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
    """Put the file `source` in the place of `target`: at every moment one of the two names has it whole.

    Raises:
        BuildError: as `copy_image`, where the two are on different drives.
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
    """See that what was renamed in a folder stays so."""
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
    """The processes that have the file open to write, as far as this user may see."""
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
    """See that both files hold the same: in what either has as data, holes being zeros."""
    size = os.fstat(new).st_size
    report(Progress("verify", f"comparing {source.name} with its copy"))
    for one, other in ((old, new), (new, old)):
        for start, piece in _data(one, size):
            if os.pread(other, len(piece), start) != piece:
                raise BuildError(f"the copy of {source} is not equal to it, and was deleted")
    report(Progress("verify", "the copy is equal", finished=True))


def _data(fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The pieces of a file that are no holes, and where they begin."""
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as failure:
            if failure.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(fd, at, os.SEEK_HOLE)
        while at < end:
            piece = os.pread(fd, min(_PIECE, end - at), at)
            if not piece:
                return
            yield at, piece
            at += len(piece)
