"""The folder of a machine's backups: complete points, an incomplete one, remains, hashes. Band: shell.

    TARGET/NAME/
      backups.json          the owner of the backups, and the folder's own id
      0001-20260131T120000Z/    a point: disks, small files, and backup.json with their sizes and hashes
      .0002-….part/         an incomplete point; it gets its name when all its files are written and synced
      .0001-….gone/         a point that is being removed
      .lock                 held by the process that writes here

A point with its final name is complete. Others may be able to write to the drive too, so no file is trusted before its
hash is checked, and no path in it is followed.
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
from pommel.machine.backup_manifest import BackupPoint, Folder
from pommel.paths import put_in_place, write_atomic

FOLDER = "backups.json"
_LOCK, _PART, _GONE = ".lock", ".part", ".gone"
_WAIT_S = 2.0
_PIECE = 4 << 20
_MANIFEST_MAX = 1 << 20
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_FAT = ("msdos", "vfat", "fat")  # the names that stat -f prints


@dataclass(frozen=True, slots=True)
class BackupContents:
    """The contents of a folder: its owner (None: still empty), its points by id, and why other points are unusable."""

    path: Path
    folder: Folder | None
    points: Mapping[str, BackupPoint] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)

    @property
    def newest(self) -> BackupPoint | None:
        """The latest point."""
        return max(self.points.values(), key=lambda point: point.number, default=None)


def target_folder(target: Path, home: Path, *, write: bool = True) -> Path:
    """The folder `target`, made absolute, links followed.

    Raises:
        StateError: it does not exist, is in Pommel's own folder, or is on a file system without large files.
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


def look(path: Path) -> BackupContents:
    """Read the contents of `path`, the folder of one machine's backups; empty if it does not exist.

    Raises:
        StateError: it contains other files.
        BuildError: it cannot be read.
    """
    if not path.is_dir():
        return BackupContents(path, None)
    try:
        names = sorted(each.name for each in path.iterdir())
    except OSError as failure:
        raise BuildError(f"{path} cannot be read: {failure}") from failure
    if FOLDER not in names:
        if any(not name.startswith(".") for name in names):
            raise StateError(f"{path} contains other files than backups", hint="choose another folder")
        return BackupContents(path, None)
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
    return BackupContents(path, folder, points, damaged)


def all_held(target: Path) -> list[BackupContents]:
    """The contents of the folders of all machines in `target`, or of `target` itself if it is such a folder."""
    if (target / FOLDER).is_file():
        return [look(target)]
    try:
        found = [each for each in sorted(target.iterdir()) if (each / FOLDER).is_file()]
    except OSError as failure:
        raise BuildError(f"{target} cannot be read: {failure}") from failure
    return [look(each) for each in found]


def begin(path: Path, machine: str, uuid: str) -> BackupContents:
    """Make the folder of a machine's backups if it is missing, and return its contents. Call it inside `locked`.

    Raises:
        StateError: it contains another machine's backups, or other files.
        BuildError: it cannot be written.
    """
    held = look(path)
    if held.folder is None:
        folder = Folder(secrets.token_hex(8), machine, uuid)
        with _as_build_error(path):
            write_atomic(path / FOLDER, backup_manifest.render_folder(folder))
        return BackupContents(path, folder)
    if held.folder.uuid != uuid:
        raise StateError(
            f"{path} contains the backups of another machine called {held.folder.machine}",
            hint="choose another folder, or move that one away",
        )
    return held


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the folder's lock for the block; it works between computers too if the file system has locks.

    Raises:
        BusyError: another process works in it.
        BuildError: it cannot be made.
    """
    with _as_build_error(path):
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
    """A folder for an incomplete point; it gets its name if the block succeeds, and is removed if it fails.

    Raises:
        BuildError: it cannot be written: no space, or a drive that was disconnected.
    """
    aside = path / f".{point}{_PART}"
    with _as_build_error(path):
        aside.mkdir(mode=private.FOLDER)
    try:
        yield aside
        with _as_build_error(path):
            for each in (*aside.rglob("*"), aside):
                _sync(each)
            put_in_place(aside, path / point)
    except BaseException:  # for Ctrl-C too
        shutil.rmtree(aside, ignore_errors=True)
        raise


def write(aside: Path, name: str, data: bytes) -> backup_manifest.BackedFile:
    """Write a small file into an incomplete point."""
    with _as_build_error(aside):
        write_atomic(aside / name, data)
    return backup_manifest.BackedFile(name, len(data), hashlib.sha256(data).hexdigest())


def sweep(path: Path) -> list[str]:
    """Remove points that are half made or half removed. Returns those that were half made. Call it inside `locked`."""
    half = []
    for left in sorted(path.glob(".*")):
        name = left.name[1:].removesuffix(_PART).removesuffix(_GONE)
        if left.is_dir() and not left.is_symlink() and backup_manifest.is_point_id(name):
            if left.name.endswith(_PART):
                half.append(name)
            shutil.rmtree(left, ignore_errors=True)
    return half


def remove(path: Path, point: str) -> None:
    """Remove a point: it loses its name in one step, and then its files are deleted."""
    doomed = path / f".{point}{_GONE}"
    with _as_build_error(path):
        (path / point).rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def digest(path: Path, tell: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of a file; `tell` gets the size of each piece that was read.

    Raises:
        BuildError: it cannot be read, or is a link or not a file.
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
    """Check that there is space for a backup of this size.

    Raises:
        BuildError: there is not.
    """
    if (free := disk.free_bytes(folder)) < room_bytes:
        raise BuildError(
            f"{folder} has {free >> 20} MiB left, but the backup needs up to {-(-room_bytes >> 20)} MiB",
            hint=f"free some space there (df -h {shlex.quote(str(folder))}), or keep fewer backups: --keep N",
        )


def reserve(path: Path, room_bytes: int) -> bool:
    """Reserve `room_bytes` for the file without a change of its length; False: the file system does not support it.

    So on a full drive the backup is refused at its start, and no write of the guest fails later: such a write waits for
    the copy of the old data.

    Raises:
        BuildError: there is not enough space.
    """
    if shutil.which("fallocate") is None:
        return False
    done = process.run(["fallocate", "--keep-size", "--length", str(room_bytes), path], check=False)
    if done.returncode and "space" in done.output.lower():
        check_room(path.parent, room_bytes)
        raise BuildError(f"{path.parent} has no space for the backup", hint=f"df -h {shlex.quote(str(path.parent))}")
    return done.returncode == 0


def release(path: Path) -> None:
    """Release the part of the reservation that was not used, and sync the file."""
    with _as_build_error(path.parent):
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
def _as_build_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise BuildError(
            f"{folder} cannot be written: {failure}",
            hint=f"check its drive: df -h {shlex.quote(str(folder))}; earlier backups are unchanged",
        ) from failure
