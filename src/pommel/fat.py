"""Makes an image of a FAT file system with files in it, without a mount. Band: shared ground.

By mkfs.vfat and mtools, so it needs no privilege. No partition table: OVMF boots EFI/BOOT/BOOTX64.EFI from a bare FAT
disk. The same files give the same bytes. The callers choose the files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from pommel import private, process
from pommel.errors import BuildError, CommandFailed
from pommel.files import put_in_place

_MKFS_HINT = "install mkfs.vfat (package dosfstools)"
_MTOOLS_HINT = "install mtools (package mtools)"
_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": "1577836800",  # mtools stamps files with it
    "MTOOLSRC": os.devnull,
}
_TIMEOUT_S = 120.0
_MIB = 1 << 20
_FILE_MAX = (1 << 32) - 1  # bytes: the size field of a directory entry
_LEAST = 8 * _MIB
_CLUSTER = 8 << 10  # the largest that mkfs.vfat chooses for less than 8 GiB
_ROOT_ENTRIES = 512  # FAT12 and FAT16 fix the root folder's size when they are made; this is the usual one
# And ASCII only: mtools 4.0.32 hangs on "ÿ", changes the case of other letters and cuts what is beyond 16 bits.
_REFUSED = frozenset('"*:<>?\\|') | {chr(code) for code in (*range(32), 127)}  # fatgen103, section "Long File Names"
_DEVICES = frozenset(
    ("CON", "PRN", "AUX", "NUL", *(f"{kind}{port}" for kind in ("COM", "LPT") for port in range(1, 10)))
)
_NAME_MAX = 255
_WORDS_MAX = 100  # paths per call: far below the kernel's limit for arguments


def make_fat(image: Path, files: Mapping[str, Path | bytes], *, label: str, size_bytes: int | None = None) -> None:
    """Make `image` a FAT file system with `files`, completely or not at all; an existing image is replaced.

    A key is the file's path in the image, folders separated by `/`; its value is the contents, or a file that has them.
    Names are ASCII, up to 255 characters a part; their case is kept.
    `label` is up to 11 characters. Without `size_bytes` the image is as large as the files take, and an eighth more.

    Raises:
        BuildError: a name that FAT does not allow, two names that are equal in FAT, an unreadable file, too little
            space.
        MissingProgram: mkfs.vfat or mtools is not installed.
    """
    process.which("mkfs.vfat", hint=_MKFS_HINT)
    process.which("mcopy", hint=_MTOOLS_HINT)
    folders = _folders(files)
    try:
        sizes = {name: _size(name, content) for name, content in files.items()}
        size = size_bytes or _ample(sizes.values(), (*files, *folders))
        private.make_folder(image.parent)
        _check_room(image.parent, sum(sizes.values()), size)
        with tempfile.TemporaryDirectory(prefix=f".{image.name}.", dir=image.parent) as scratch:
            raw = Path(scratch) / "raw"
            _make_empty(raw, size, label, len(files) + len(folders))
            _fill(raw, Path(scratch), files, folders)
            _check_names(raw, set(files))
            raw.chmod(private.FILE)
            _sync(raw)
            put_in_place(raw, image)
    except CommandFailed as failure:
        raise BuildError(f"{image} cannot be made: {failure.message}", hint=failure.hint) from failure
    except OSError as failure:
        raise BuildError(f"{image} cannot be made: {failure}") from failure


def _make_empty(raw: Path, size: int, label: str, entries: int) -> None:
    with raw.open("wb") as out:
        out.truncate(size)
    # 21 entries are a name of 255 characters and its short one. FAT32 has no fixed root folder and ignores -r.
    root = max(_ROOT_ENTRIES, min(21 * entries + 1, 0xFFF0))
    process.run(
        ["mkfs.vfat", "--invariant", "-r", str(root), "-n", label, raw], env=_ENV, timeout_s=_TIMEOUT_S, hint=_MKFS_HINT
    )


def _fill(raw: Path, scratch: Path, files: Mapping[str, Path | bytes], folders: list[str]) -> None:
    """Copy folder by folder, from links with the right names: mcopy uses the name of the source file."""
    for some in _portions(folders):
        _mtools("mmd", "-i", raw, *(f"::/{folder}" for folder in some))
    for number, folder in enumerate(["", *folders]):
        stage = scratch / str(number)
        stage.mkdir()
        inside = sorted(name for name in files if _parent(name) == folder)
        for name in inside:
            _stage(stage / PurePosixPath(name).name, files[name])
        for some in _portions(inside):
            sources = (stage / PurePosixPath(name).name for name in some)
            _mtools("mcopy", "-i", raw, *sources, f"::/{folder}")


def _check_names(raw: Path, wanted: set[str]) -> None:
    """Check every file's name in the image: mtools drops letters of some names, such as the first of `[~`."""
    if not wanted:
        return
    listed = _mtools("mdir", "-i", raw, "-/", "-a", "-b", "::/").text.splitlines()
    missing = wanted - {line.removeprefix("::/") for line in listed}
    if missing:
        raise BuildError(f"mtools cannot write a file called {min(missing)!r}", hint="rename it")


def _stage(place: Path, content: Path | bytes) -> None:
    if isinstance(content, bytes):
        place.write_bytes(content)
    else:
        place.symlink_to(content.absolute())


def _mtools(program: str, *words: str | Path) -> process.Completed:
    try:
        return process.run([program, *words], env=_ENV, timeout_s=_TIMEOUT_S)
    except CommandFailed as failure:  # mtools often prints no message
        raise BuildError(f"mtools cannot write {str(words[-1]).removeprefix('::')}: {failure.message}") from failure


def _portions(names: list[str]) -> Iterable[list[str]]:
    return (names[at : at + _WORDS_MAX] for at in range(0, len(names), _WORDS_MAX))


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _folders(files: Iterable[str]) -> list[str]:
    """The folders that hold `files`, outer ones first.

    Raises:
        BuildError: FAT does not allow one of the names, or two names are equal in FAT.
    """
    files, found, seen = list(files), dict[str, None](), dict[str, str]()
    for name in files:
        parts = name.split("/")
        for part in parts:
            _check_name(part, name)
        found |= dict.fromkeys("/".join(parts[:depth]) for depth in range(1, len(parts)))
    folders = sorted(found)
    for name in (*files, *folders):
        other = seen.setdefault(name.upper(), name)
        if other != name or (name in found and name in files):
            raise BuildError(f"FAT cannot tell {other} from {name}", hint="rename one of the two")
    return folders


def _check_name(part: str, name: str) -> None:
    why = None
    if part in ("", ".", "..") or part.endswith((".", " ")) or part.startswith(" "):
        why = "an empty part, or one that begins or ends with a dot or a blank"
    elif _REFUSED & set(part):
        why = "one of " + " ".join(sorted(_REFUSED & set(part))).encode("unicode_escape").decode()
    elif part.split(".")[0].upper() in _DEVICES:
        why = "the name of a device of DOS"
    elif not part.isascii():
        why = "letters that are not ASCII"
    elif len(part) > _NAME_MAX:
        why = f"more than {_NAME_MAX} characters"
    if why:
        raise BuildError(f"{name!r} cannot be a file's name in a FAT image: it has {why}", hint="rename it")


def _size(name: str, content: Path | bytes) -> int:
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    if not isinstance(content, bytes) and not content.is_file():
        raise BuildError(f"{content} is not a file")
    if size > _FILE_MAX:
        raise BuildError(f"{name} has {size} bytes, and a file on FAT has less than 4 GiB")
    return size


def _ample(sizes: Iterable[int], names: Iterable[str]) -> int:
    """Enough bytes for the contents in whole clusters, the folders' entries, both tables, and an eighth more."""
    names = list(names)
    contents = sum(-(-size // _CLUSTER) * _CLUSTER for size in sizes)
    entries = sum(32 * (2 + len(name) // 6) for name in names) + len(names) * _CLUSTER
    return -(-max(_LEAST, (contents + entries) * 9 // 8 + _MIB) // _MIB) * _MIB


def _check_room(folder: Path, content: int, size: int) -> None:
    if content > size:
        raise BuildError(f"{content} bytes of files do not fit in a file system of {size}")
    free, needed = shutil.disk_usage(folder).free, content + _MIB  # a MiB for the tables
    if free < needed:
        folder = folder.resolve()
        disk = next(path for path in (folder, *folder.parents) if path.is_mount())  # `folder` may be a passing one
        raise BuildError(
            f"{disk} has {free // _MIB} MiB left, and {-(-needed // _MIB)} MiB are needed",
            hint=f"free some space there (df -h {disk})",
        )


def _sync(path: Path) -> None:
    """Sync the file before it is renamed: after a power cut, the new name must not have incomplete contents."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
