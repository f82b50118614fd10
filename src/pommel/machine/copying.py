"""Rewrites a whole disk: for a full clone, and to release unused space. Band: shell.

The copy is made beside the disk and renamed over it once `qemu-img compare` has found it equal, so there is never
a partial one. A disk that is a link to a file on another drive stays a link: the copy is made beside that file. The
caller holds the lock of the disk's machine; the machine is stopped.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel import private, process
from pommel.errors import BuildError, CommandFailed, StateError
from pommel.machine import disk, luks
from pommel.paths import put_in_place
from pommel.progress import Progress, Report, ignore, warn

_POLL_S = 0.2
_LONG_S = 24 * 3600.0
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_SLACK_BYTES = 16 << 20
# The errors of a file system that cannot share extents (ioctl_ficlone(2)).
_NO_REFLINK = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Compacted:
    """The size of an image on the host before and after; `how`: it was rewritten ("rewrite"), or trimmed ("trim")."""

    before_bytes: int
    after_bytes: int
    how: str = "rewrite"


def compact(path: Path, *, report: Report = ignore) -> Compacted:
    """Rewrite the qcow2 disk `path` of a stopped machine without its unused space.

    Its backing file stays the same. Meanwhile this needs as much additional space as the disk uses now.

    Raises:
        StateError: it does not exist, is not qcow2, or has snapshots, which a new copy would lose.
        BuildError: there is not enough space, a QEMU has it open, or the copy is not equal.
    """
    path = path.absolute()
    before = disk.info(path)
    _may_be_compacted(before)
    header = disk.header(path)
    place = Path(os.path.realpath(path))
    words = ["-f", "qcow2", "-O", "qcow2", "-o", f"cluster_size={header.cluster_bytes}", *_bitmap_words(path, report)]
    words += disk.creation_words(header.crypt != 0)
    under = _seen_from(path, place.parent, header.backing)
    if under is not None:
        words += ["-B", under, "-F", header.backing_format or "raw"]
    with _made_beside(place, before.actual_bytes) as aside:
        _convert(words, path, aside, before.actual_bytes, "compact", report)
        _compare(path, aside, report)
        # Restore the original words, which are relative to the link.
        if header.backing is not None and under != header.backing:
            words = ["-b", header.backing, "-F", header.backing_format or "raw"]
            disk.qemu_img("rebase", "-q", "-u", "-f", "qcow2", *words, disk.image(aside))
        aside.chmod(place.stat().st_mode & 0o777)
    done = Compacted(before.actual_bytes, disk.info(path).actual_bytes)
    report(Progress("compact", f"{path.name} is rewritten", finished=True))
    return done


def must_fit(path: Path) -> None:
    """Check that `compact` may begin. It raises the same errors."""
    found = disk.info(path.absolute())
    _may_be_compacted(found)
    disk.check_room(Path(os.path.realpath(path)).parent, found.actual_bytes + _SLACK_BYTES)


def copy_whole(
    source: Path, target: Path, *, form: str | None = None, encrypted: bool = False, report: Report = ignore
) -> bool:
    """Make the qcow2 disk `target` from `source` and its backing files; return whether it was a reflink.

    `form` is the source's format if it is known: it is not probed, because a guest can write any header to a raw disk.
    A reflink takes no time, and no space until one of the two disks changes. All data is copied if the file system has
    no reflinks, or the source has snapshots or a backing file. The copy of an encrypted disk is encrypted with the same
    key; with `encrypted`, every copy is encrypted.

    Raises:
        StateError: the source does not exist, or the target already exists.
        BuildError: there is not enough space, a QEMU writes to the source, or the copy is not equal.
    """
    source, target = source.absolute(), target.absolute()
    if target.exists():
        raise StateError(f"{target} already exists")
    found = disk.info(source, form)
    declared = ["-f", form] if form else []
    disk.qemu_img("info", *declared, str(source))  # without --force-share, so that it fails while a QEMU writes to it
    private.make_folder(target.parent)
    was_encrypted = found.format == "qcow2" and disk.is_encrypted(source)
    if _is_plain(found) and encrypted <= was_encrypted and clone_blocks(source, target):
        report(Progress("copy", f"{target.name} shares its blocks with {source.name}", finished=True))
        return True
    takes = sum(part.actual_bytes for part in _chain(found))
    with _made_beside(target, takes) as aside:
        words = ["-f", found.format, "-O", "qcow2", *disk.creation_words(encrypted or was_encrypted)]
        _convert(words, source, aside, takes, "copy", report, found.format)
        _compare(source, aside, report, found.format)
    report(Progress("copy", f"{target.name} is copied", finished=True))
    return False


def write_whole(image: str, target: Path, takes_bytes: int, *, report: Report = ignore) -> None:
    """Make the qcow2 disk `target` with the data of `image`, a `json:` description of QEMU; as `copy_whole`."""
    with _made_beside(target, takes_bytes) as aside:
        _watched(
            ["convert", "-O", "qcow2", image, str(aside)], aside, takes_bytes, "copy", f"writing {target.name}", report
        )
        report(Progress("verify", f"comparing {target.name} with its source"))
        try:
            disk.qemu_img("compare", image, f"json:{_plain(aside)}", timeout_s=_LONG_S)
        except BuildError as failure:
            raise BuildError(f"{target.name} is not equal to its source: {failure}") from failure
    report(Progress("copy", f"{target.name} is written, and equal to its source", finished=True))


def _plain(path: Path) -> str:
    return json.dumps({"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}})


def _seen_from(path: Path, folder: Path, backing: str | None) -> str | None:
    """The backing file of `path` as named from `folder`: a relative name counts from the image's folder."""
    if backing is None or path.parent == folder or ":" in backing.partition("/")[0]:
        return backing
    return os.path.realpath(path.parent / backing)


def _may_be_compacted(found: disk.DiskInfo) -> None:
    if found.format != "qcow2":
        raise StateError(f"{found.path.name} is {found.format}: only qcow2 disks can be compacted")
    if tags := disk.snapshot_tags(found.path):
        raise StateError(
            f"{found.path.name} contains snapshots ({', '.join(tags)}), which would be lost if the disk is rewritten",
            hint="delete them first: pommel snapshot delete NAME TAG",
        )


def _bitmap_words(path: Path, report: Report) -> list[str]:
    """The options to copy the disk's dirty bitmaps: they stay correct, as the guest's data does not change."""
    found = disk.bitmaps(path)
    if broken := [name for name, sound in found.items() if not sound]:
        lost = ", ".join(broken)
        warn(
            report,
            f"{path.name} has dirty bitmaps that a crash has damaged ({lost}): the next backup that uses them will be "
            "a full backup",
        )
    return ["--bitmaps", "--skip-broken-bitmaps"] if found else []


def _is_plain(found: disk.DiskInfo) -> bool:
    return found.format == "qcow2" and found.backing is None and not disk.snapshot_tags(found.path)


def _chain(top: disk.DiskInfo) -> Iterator[disk.DiskInfo]:
    """The image and its backing files."""
    part: disk.DiskInfo | None = top
    while part is not None:
        yield part
        part = disk.info(part.backing) if part.backing is not None else None


@contextlib.contextmanager
def _made_beside(path: Path, takes_bytes: int) -> Iterator[Path]:
    """An empty file beside `path`; it is synced and replaces `path` if the block succeeds."""
    for left in path.parent.glob(f".{path.name}.aside.*"):  # left by a kill -9; its maker held our lock
        left.unlink(missing_ok=True)
    try:
        disk.check_room(path.parent, takes_bytes + _SLACK_BYTES)
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.aside.", dir=path.parent)
        os.close(fd)
        aside = Path(name)
        try:
            yield aside
            _sync(aside)
            put_in_place(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as failure:
        raise BuildError(f"{path} cannot be written: {failure}") from failure


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _convert(
    words: Sequence[str], source: Path, target: Path, takes: int, step: str, report: Report, form: str = "qcow2"
) -> None:
    text, image = f"copying {source.name}", disk.image(source, form)
    _watched(["convert", *words, image, str(target)], target, takes, step, text, report)


def _compare(one: Path, other: Path, report: Report, form: str = "qcow2") -> None:
    report(Progress("verify", f"comparing {one.name} with its copy"))
    try:
        disk.qemu_img("compare", "-f", form, "-F", "qcow2", disk.image(one, form), disk.image(other), timeout_s=_LONG_S)
    except BuildError as failure:
        raise BuildError(f"the copy of {one} is not equal to it, and was deleted: {failure}") from failure
    report(Progress("verify", "the copy is equal", finished=True))


def _watched(words: Sequence[str], grows: Path, total: int, step: str, text: str, report: Report) -> None:
    """Run qemu-img and report how much of `total` the file `grows` has; it ends with our process."""
    told, secret = disk.with_secret(words)
    for _ in range(luks.TRIES):
        status, said = _watched_once(told, secret, grows, total, step, text, report)
        if status == 0:
            return
        if luks.UNTIMED not in said:
            break
    disk.refuse_wrong_key(words, said)
    raise BuildError(str(CommandFailed(["qemu-img", *words], status, said)))


def _watched_once(
    told: Sequence[str], secret: bytes | None, grows: Path, total: int, step: str, text: str, report: Report
) -> tuple[int, str]:
    """One try: the exit status, and the output."""
    log = grows.with_name(grows.name + ".log")
    child = process.spawn_detached(["qemu-img", *told], log, ends_with_us=True, input=secret)
    try:
        try:
            report(Progress(step, text, 0, total, "B"))
            while (status := child.exit_status(_POLL_S)) is None:
                report(Progress(step, text, min(total, _takes(grows)), total, "B"))
        except BaseException:  # for Ctrl-C too
            child.kill()
            raise
        return status, log.read_text(errors="replace") if status != 0 else ""
    finally:
        log.unlink(missing_ok=True)


def _takes(path: Path) -> int:
    """The size of a file on the host; 0 if it does not exist: qemu-img removes a file that it could not make."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def clone_blocks(source: Path, target: Path) -> bool:
    """Make `target` share all blocks of `source`; False if the file system cannot."""
    fd, aside = tempfile.mkstemp(prefix=f".{target.name}.aside.", dir=target.parent)
    try:
        with source.open("rb") as old:
            fcntl.ioctl(fd, _FICLONE, old.fileno())
        os.fsync(fd)
        put_in_place(Path(aside), target)
    except OSError as refusal:
        if refusal.errno in _NO_REFLINK:
            return False
        raise BuildError(f"{target} cannot be written: {refusal}") from refusal
    else:
        return True
    finally:
        os.close(fd)
        Path(aside).unlink(missing_ok=True)
