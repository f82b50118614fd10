"""The folder that a machine's backups are in: its points, one in the making, what was cut off, hashes. Band: shell.

    TARGET/NAME/
      backups.json          whose they are, and the folder's own id
      0001-20260131T120000Z/    a point: disks, small files, and backup.json, which says their sizes and hashes
      .0002-….part/         one in the making, or cut off; it gets its name when all in it is written and synced
      .0001-….gone/         one that is being removed
      .lock                 held by whoever writes here

A point that has its name is whole. It may lie on a drive that others can write to too, so nothing in it is believed
before its hash fits, and no path in it is followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pommel import account, locks, private, process, texts, writable
from pommel.errors import BuildError, NotPermitted, StateError
from pommel.machine import backup_manifest, disk
from pommel.machine.backup_manifest import Folder, Point
from pommel.paths import put_in_place, write_atomic

FOLDER = "backups.json"
_LOCK, _PART, _GONE = ".lock", ".part", ".gone"
_WAIT_S = 2.0
_PIECE = 4 << 20
_MANIFEST_MAX = 1 << 20
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_FAT = ("msdos", "vfat", "fat")  # as stat -f calls it


@dataclass(frozen=True, slots=True)
class Held:
    """What a folder holds: whose it is (None: nothing yet), its points by id, and why others cannot be used."""

    path: Path
    folder: Folder | None
    points: Mapping[str, Point] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)

    @property
    def newest(self) -> Point | None:
        """The point that was made last."""
        return max(self.points.values(), key=lambda point: point.number, default=None)


def target_folder(target: Path, home: Path, *, write: bool = True) -> Path:
    """The folder `target`, made absolute, links followed.

    Raises:
        StateError: there is none, or it is in Pommel's own folder, or on a file system that holds no large files.
        NotPermitted: it cannot be written to.
    """
    path = Path(os.path.realpath(account.expand(target).absolute()))
    if not path.is_dir():
        raise StateError(
            f"there is no folder {path}", hint=f"mount its drive, or create it: mkdir -p {shlex.quote(str(path))}"
        )
    if not write:
        return path
    if path.is_relative_to(Path(os.path.realpath(home))):
        raise StateError(f"{path} is in Pommel's own folder", hint="choose a folder on another drive")
    if why := writable.why_not(path):
        raise NotPermitted(f"{path} cannot be written: {why}", hint="choose a folder that you can write to")
    if process.run(["stat", "-f", "-c", "%T", path], check=False).text.strip() in _FAT:
        raise StateError(
            f"{path} is on a FAT file system, which cannot store files larger than 4 GiB", hint="choose another drive"
        )
    return path


def look(path: Path) -> Held:
    """Read what the folder `path` of one machine's backups holds; nothing, where it is not there.

    Raises:
        StateError: it is a folder of something else.
        BuildError: it cannot be read.
    """
    if not path.is_dir():
        return Held(path, None)
    try:
        names = sorted(each.name for each in path.iterdir())
    except OSError as failure:
        raise BuildError(f"{path} cannot be read: {failure}") from failure
    if FOLDER not in names:
        if any(not name.startswith(".") for name in names):
            raise StateError(f"{path} contains other files than backups", hint="choose another folder")
        return Held(path, None)
    try:
        folder = backup_manifest.parse_folder(_read(path / FOLDER))
    except ValueError as wrong:
        raise BuildError(f"{path / FOLDER} cannot be used: {wrong}") from wrong
    points, damaged = {}, {}
    for name in filter(backup_manifest.is_point_id, names):
        try:
            point = backup_manifest.parse(_read(path / name / backup_manifest.NAME))
            if point.id != name:
                raise ValueError(f"it is the manifest of {point.id}")
            points[name] = point
        except (ValueError, BuildError) as wrong:
            damaged[name] = str(wrong)
    return Held(path, folder, points, damaged)


def all_held(target: Path) -> list[Held]:
    """The machines whose backups are in `target`, or the one if it is that machine's folder itself."""
    if (target / FOLDER).is_file():
        return [look(target)]
    try:
        found = [each for each in sorted(target.iterdir()) if (each / FOLDER).is_file()]
    except OSError as failure:
        raise BuildError(f"{target} cannot be read: {failure}") from failure
    return [look(each) for each in found]


def begin(path: Path, machine: str, uuid: str) -> Held:
    """Make the folder of a machine's backups, if need be, and say what it holds. Call it inside `locked`.

    Raises:
        StateError: it holds another machine's, or something else.
        BuildError: it cannot be written.
    """
    held = look(path)
    if held.folder is None:
        folder = Folder(secrets.token_hex(8), machine, uuid)
        with _told(path):
            write_atomic(path / FOLDER, backup_manifest.render_folder(folder))
        return Held(path, folder)
    if held.folder.uuid != uuid:
        raise StateError(
            f"{path} contains the backups of another machine called {held.folder.machine}",
            hint="choose another folder, or move that one away",
        )
    return held


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the folder for the block, against other computers too where its file system has locks.

    Raises:
        BusyError: somebody else is at work in it.
        BuildError: it cannot be made.
    """
    with _told(path):
        private.make_folder(path)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.hold(path / _LOCK, busy=f"a backup is being made in {path}", wait_s=_WAIT_S))
        except OSError as refusal:
            if refusal.errno not in _NO_LOCKS:
                raise BuildError(f"{path} cannot be locked: {refusal}") from refusal
        yield


@contextlib.contextmanager
def making(path: Path, point: str) -> Iterator[Path]:
    """A folder for a point in the making; it is the point once the block ends well, and gone if it does not.

    Raises:
        BuildError: it cannot be written: no room, a drive that went away.
    """
    aside = path / f".{point}{_PART}"
    with _told(path):
        aside.mkdir(mode=private.FOLDER)
    try:
        yield aside
        with _told(path):
            for each in (*aside.rglob("*"), aside):
                _sync(each)
            put_in_place(aside, path / point)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(aside, ignore_errors=True)
        raise


def write(aside: Path, name: str, data: bytes) -> backup_manifest.BackedFile:
    """Put a small file into a point in the making."""
    with _told(aside):
        write_atomic(aside / name, data)
    return backup_manifest.BackedFile(name, len(data), hashlib.sha256(data).hexdigest())


def sweep(path: Path) -> list[str]:
    """Remove what was cut off: points half made, half removed. Says which were half made. Call it inside `locked`."""
    half = []
    for left in sorted(path.glob(".*")):
        name = left.name[1:].removesuffix(_PART).removesuffix(_GONE)
        if left.is_dir() and not left.is_symlink() and backup_manifest.is_point_id(name):
            if left.name.endswith(_PART):
                half.append(name)
            shutil.rmtree(left, ignore_errors=True)
    return half


def remove(path: Path, point: str) -> None:
    """Remove a point: out of sight in one step, then its files."""
    doomed = path / f".{point}{_GONE}"
    with _told(path):
        (path / point).rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def digest(path: Path, tell: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of a file; `tell` hears how much has been read.

    Raises:
        BuildError: it cannot be read, is a link or no file.
    """
    summed = hashlib.sha256()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb", buffering=0) as file:
            if not path.is_file():
                raise BuildError(f"{path} is not a file")
            while piece := file.read(_PIECE):
                summed.update(piece)
                tell(len(piece))
    except OSError as failure:
        raise BuildError(f"{path} cannot be read: {failure}") from failure
    return summed.hexdigest()


def check_room(folder: Path, room_bytes: int) -> None:
    """See that a backup of so many bytes has room.

    Raises:
        BuildError: it has not.
    """
    if (free := disk.free_bytes(folder)) < room_bytes:
        raise BuildError(
            f"{folder} has {free >> 20} MiB left, but the backup needs up to {-(-room_bytes >> 20)} MiB",
            hint=f"free some space there (df -h {shlex.quote(str(folder))}), or keep fewer backups: --keep N",
        )


def reserve(path: Path, room_bytes: int) -> bool:
    """Have the file system set `room_bytes` aside for the file, whose length stays; False: it cannot do that.

    So a drive that fills up refuses the backup, and never a write of the guest, which has to wait for the copy of what
    it overwrites.

    Raises:
        BuildError: there is no room.
    """
    if shutil.which("fallocate") is None:
        return False
    done = process.run(["fallocate", "--keep-size", "--length", str(room_bytes), path], check=False)
    if done.returncode and "space" in done.output.lower():
        check_room(path.parent, room_bytes)
        raise BuildError(f"{path.parent} has no space for the backup", hint=f"df -h {shlex.quote(str(path.parent))}")
    return done.returncode == 0


def release(path: Path) -> None:
    """Give back what was reserved and not used, and have the rest last."""
    with _told(path.parent):
        os.truncate(path, path.stat().st_size)
        _sync(path)


def _read(path: Path) -> str:
    return texts.read_text(path, error=BuildError, most=_MANIFEST_MAX)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as refusal:
        if not path.is_dir() or refusal.errno not in _NO_LOCKS:
            raise
    finally:
        os.close(fd)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise BuildError(
            f"{folder} cannot be written: {failure}",
            hint=f"check its drive: df -h {shlex.quote(str(folder))}; earlier backups are unchanged",
        ) from failure
