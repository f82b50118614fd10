"""Makes and inspects disks, with qemu-img. Band: shell.

A disk is made under another name and then renamed, so there is never a partial one. This module knows nothing of the
disk's contents. Operations by a running QEMU are in `resizing` and `snapshots`; making a disk smaller is in `copying`.

A caller whose qemu-img opens a machine's disk names it by `image`: then an encrypted disk is opened with its key.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pommel import private, process
from pommel.errors import BuildError, CommandFailed, StateError
from pommel.machine import luks, passphrase, qcow2
from pommel.paths import put_in_place

_HINT = "install qemu-img (Debian: qemu-utils)"
_TIMEOUT_S = 60.0
_LONG_S = 3600.0  # for operations that read or write a whole disk
_MIB = 1 << 20
_CREATE_BYTES = 16 * _MIB  # more than the metadata of any new qcow2
_CHECK_WORDS = {2: "it has errors", 3: "it has lost clusters, which only waste disk space"}  # qemu-img's exit statuses


@dataclass(frozen=True, slots=True)
class DiskInfo:
    """The facts of an image. `actual_bytes` is its size on the host; `backing` is its backing file."""

    path: Path
    format: str
    virtual_bytes: int
    actual_bytes: int
    backing: Path | None
    backing_format: str | None


@dataclass(frozen=True, slots=True)
class DiskCheck:
    """The result of `qemu-img check`: `sound` is false if data may be wrong; `leaked` clusters only waste space."""

    sound: bool
    leaked: int
    detail: str = ""


def create(
    path: Path,
    size_bytes: int | None = None,
    *,
    backing: Path | None = None,
    backing_format: str = "qcow2",
    relative: bool = False,
    room_bytes: int = 0,
    encrypted: bool = False,
) -> DiskInfo:
    """Make the qcow2 disk `path`: empty with `size_bytes`, or over `backing` (then the size may be omitted).

    `room_bytes` is the data that will certainly be written to it: the host must have that much space. With `relative`
    the backing file is named relative to the disk's folder. The caller holds the lock of the disk's machine. An
    `encrypted` disk is encrypted from the beginning, with the key that `passphrase.with_key` gives.

    Raises:
        StateError: the disk already exists.
        BuildError: the host has not enough space, or qemu-img fails.
        MissingProgram: qemu-img is not installed.
    """
    path = path.absolute()
    if path.exists():
        raise StateError(f"{path} already exists")
    if backing is not None and not backing.is_file():
        raise BuildError(f"{backing}, the backing file for the disk {path.name}, does not exist")
    try:
        private.make_folder(path.parent)
        check_room(path.parent, max(room_bytes, _CREATE_BYTES))
        words = [*creation_words(encrypted), *_backing_words(path, backing, backing_format, relative)]
        _make(path, size_bytes, words)
    except OSError as failure:
        raise BuildError(f"the disk {path} cannot be created: {failure}") from failure
    return info(path)


def info(path: Path, image_format: str | None = None) -> DiskInfo:
    """Inspect the image `path`, which a running QEMU may write to; its format is probed if it is not given.

    Raises:
        StateError: it does not exist.
        BuildError: qemu-img cannot read it.
        MissingProgram: qemu-img is not installed.
    """
    told = _image_info(path.absolute(), image_format)
    backing = told.get("full-backing-filename") or told.get("backing-filename")
    return DiskInfo(
        path=path.absolute(),
        format=told["format"],
        virtual_bytes=told["virtual-size"],
        actual_bytes=told["actual-size"],
        backing=Path(backing) if backing else None,
        backing_format=told.get("backing-filename-format"),
    )


def header(path: Path) -> qcow2.Header:
    """Read the qcow2 header of `path`, without a program: this is quick, and safe while QEMU writes.

    Raises:
        OSError: it does not exist, or may not be read.
        ValueError: it is not a qcow2 image.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return qcow2.read_header(lambda offset, count: os.pread(fd, count, offset))
    finally:
        os.close(fd)


def is_encrypted(path: Path) -> bool:
    """Whether `path` is an encrypted qcow2 image; False if it does not exist or cannot be read."""
    try:
        return header(path).crypt != 0
    except (OSError, ValueError):
        return False


def image(path: Path, form: str = "qcow2") -> str:
    """The name with which qemu-img opens the disk `path`, with its key if it is encrypted.

    If `form` is another format, the header is ignored: the guest could have written it.
    """
    path = path.absolute()
    return luks.described(str(path)) if form == "qcow2" and is_encrypted(path) else str(path)


def creation_words(encrypted: bool) -> list[str]:
    """The options with which qemu-img's `create` or `convert` writes an encrypted qcow2 disk; empty if not `encrypted`.

    Raises:
        StateError, MissingProgram: as `passphrase.key`.
    """
    return ["-o", luks.creation(_stretch_ms(passphrase.key()))] if encrypted else []


def _stretch_ms(key: passphrase.Passphrase) -> int | None:
    if key.stretch_ms is not None or key.opens is None or not is_encrypted(key.opens):
        return key.stretch_ms
    return luks.stretch_of(_image_info(key.opens.absolute(), "qcow2"))


def must_open(path: Path) -> None:
    """Check that the present key opens the disk `path`; a disk that is not encrypted needs none. Writes nothing.

    Raises:
        StateError: it does not; or there is no key.
        BuildError, MissingProgram: as `info`.
    """
    if is_encrypted(path):
        qemu_img("snapshot", "-U", "-l", image(path))


def snapshot_tags(path: Path) -> dict[str, int]:
    """The internal snapshots of `path`: each one's tag, and the size in bytes of its RAM and devices (0: none).

    Raises:
        StateError, BuildError, MissingProgram: as `info` does.
    """
    return {kept["name"]: kept["vm-state-size"] for kept in _image_info(path.absolute()).get("snapshots", [])}


def bitmaps(path: Path) -> dict[str, bool]:
    """The dirty bitmaps in the qcow2 `path`: each one's name, and whether it was closed correctly.

    Raises:
        StateError, BuildError, MissingProgram: as `info` does.
    """
    kept = _image_info(path.absolute()).get("format-specific", {}).get("data", {}).get("bitmaps", [])
    return {each["name"]: "in-use" not in each["flags"] for each in kept}


def check(path: Path) -> DiskCheck:
    """Look for damage in the image `path` of a stopped machine; this changes nothing.

    Raises:
        StateError: it does not exist.
        BuildError: qemu-img cannot check it: a QEMU has it open, or it is not a qcow2 image.
    """
    if not path.exists():
        raise StateError(f"there is no disk {path}")
    done = _run("check", "--output=json", image(path), timeout_s=_LONG_S, check=False)
    if done.returncode not in (0, *_CHECK_WORDS):
        raise BuildError(f"{path.name} cannot be checked: {CommandFailed(done.argv, done.returncode, done.output)}")
    told: Any = json.loads(done.text)
    sound = done.returncode != 2 and not told.get("corruptions") and not told.get("check-errors")
    return DiskCheck(sound, told.get("leaks", 0), _CHECK_WORDS.get(done.returncode, ""))


def repair(path: Path) -> bool:
    """Repair what a killed qemu-img or QEMU left incomplete in the qcow2 `path`; return whether anything was repaired.

    When a snapshot is made, loaded or deleted, QEMU first updates the clusters' refcounts and then their flags
    (docs/interop/qcow2.txt, OFLAG_COPIED). If this is interrupted, no data is lost, but the refcounts are wrong. Only
    for a stopped machine.

    Raises:
        StateError: it does not exist.
        BuildError: a QEMU has it open; or it has other damage.
    """
    found = check(path)
    if found.sound and not found.leaked:
        return False
    _run("check", "-q", "-r", "all", image(path), timeout_s=_LONG_S, check=False)
    if not check(path).sound:
        raise BuildError(f"{path} is damaged and cannot be repaired", hint=f"check it: qemu-img check {path}")
    return True


def free_bytes(folder: Path) -> int:
    """The free space for this user on the file system of `folder`."""
    return shutil.disk_usage(folder).free


def check_room(folder: Path, room_bytes: int) -> None:
    """Check that `folder` has `room_bytes` of free space.

    Raises:
        BuildError: it has less.
    """
    free = free_bytes(folder)
    if free < room_bytes:
        raise BuildError(
            f"{folder} has {free // _MIB} MiB left, and {-(-room_bytes // _MIB)} MiB are needed",
            hint=f"free some space there (df -h {folder}), or set POMMEL_HOME to a folder on a larger disk",
        )


def qemu_img(*words: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Run qemu-img and return its output; if `words` name an encrypted disk, it gets the key.

    Raises:
        BuildError: it fails.
        StateError: the disk is encrypted, and there is no key, or a wrong one.
        MissingProgram: qemu-img is not installed.
    """
    try:
        return _run(*words, timeout_s=timeout_s).text
    except CommandFailed as failure:
        raise BuildError(str(failure), hint=failure.hint) from failure


def with_secret(words: Sequence[str]) -> tuple[list[str], bytes | None]:
    """The arguments of qemu-img, and its input; None: no input, because they name no encrypted disk.

    Raises:
        StateError, MissingProgram: as `passphrase.key`.
    """
    if not luks.wants_key(words):
        return list(words), None
    return luks.with_object(words), passphrase.key().phrase


def refuse_wrong_key(words: Sequence[str], said: str) -> None:
    """Check that a wrong passphrase was not the reason of qemu-img's failure; `said` is its output.

    Raises:
        StateError: it was.
    """
    if luks.wants_key(words) and luks.WRONG_KEY in said:
        raise passphrase.key().wrong()


def _run(*words: str, timeout_s: float, check: bool = True) -> process.Completed:
    process.which("qemu-img", hint=_HINT)
    told, secret = with_secret(words)
    for _ in range(luks.TRIES):
        done = process.run(["qemu-img", *told], timeout_s=timeout_s, input=secret, check=False)
        if done.returncode == 0 or luks.UNTIMED not in done.output:
            break
    if done.returncode != 0:
        refuse_wrong_key(words, done.output)
        if check:
            raise CommandFailed(done.argv, done.returncode, done.output)
    return done


def _image_info(path: Path, image_format: str | None = None) -> dict[str, Any]:
    if not path.exists():
        raise StateError(f"there is no disk {path}")
    told: dict[str, Any] = json.loads(
        qemu_img("info", "--force-share", "--output=json", *(["-f", image_format] if image_format else []), str(path))
    )
    return told


def _backing_words(path: Path, backing: Path | None, backing_format: str, relative: bool) -> list[str]:
    if backing is None:
        return []
    name = os.path.relpath(backing.absolute(), path.parent) if relative else str(backing.absolute())
    return ["-b", name, "-F", backing_format]


def _make(path: Path, size_bytes: int | None, words: list[str]) -> None:
    fd, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(fd)
    try:
        size = [str(size_bytes)] if size_bytes is not None else []
        qemu_img("create", "-q", "-f", "qcow2", *words, aside, *size)
        Path(aside).chmod(private.FILE)  # qemu-img has made the file again if it needed more than one try
        put_in_place(Path(aside), path)
    finally:
        Path(aside).unlink(missing_ok=True)
