"""Send a folder to a guest and get files from it, as streams of tar archives. Band: app.

A guest is not trusted: its archive is unpacked into a new folder, links last, and gets its final name only when it is
complete.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from pommel.app.throwaway.ustar import BLOCK, Kind, TarEntry, parse_header
from pommel.errors import ProtocolError
from pommel.files import users_mode
from pommel.progress import Report, warn

_ENTRIES_MOST = 1_000_000
_DEPTH_MOST = 64
_CHUNK = 1 << 20
_MODE = 0o600  # of Pommel's own files in the guest


def write(stream: IO[bytes], files: Mapping[str, bytes], folder: Path | None, top: str) -> None:
    """Write an archive: `files` by their names, and the content of `folder` under the name `top`.

    Raises:
        OSError: a file of the folder cannot be read.
    """
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as archive:
        made = tarfile.TarInfo(top)
        made.type, made.mode = tarfile.DIRTYPE, 0o700
        archive.addfile(made)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), _MODE
            archive.addfile(info, _Reader(data))  # type: ignore[arg-type]
        if folder is not None:
            for entry in sorted(folder.iterdir()):
                archive.add(entry, f"{top}/{entry.name}", filter=_nobodys)


class _Reader:
    """Bytes as a file object with the one method that tarfile uses."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, count: int) -> bytes:
        """The next `count` bytes."""
        part, self._data = self._data[:count], self._data[count:]
        return part


def _nobodys(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """An entry without the user and group of this host; None for sockets and devices, which are left out."""
    if not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
        return None
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def unpack(stream: IO[bytes], into: Path, *, most_bytes: int, report: Report) -> int:
    """Unpack a guest's archive into the empty folder `into`; return the bytes of its files.

    Links to the outside, hard links, devices and the like are left out; a warning has their number.

    Raises:
        ProtocolError: it is not an archive, ends early, or has more than `most_bytes` or a million entries.
        OSError: it cannot be written.
    """
    links: list[TarEntry] = []
    left_out = total = 0
    for _ in range(_ENTRIES_MOST):
        entry = parse_header(_exactly(stream, BLOCK))
        if entry is None:
            break
        total += entry.size
        if total > most_bytes or len(entry.parts) > _DEPTH_MOST:
            raise ProtocolError("the guest sends more than this host has room for")
        if entry.kind is Kind.LINK:
            links.append(entry)
        elif entry.kind is Kind.OTHER:
            left_out += 1
        _take(stream, entry, into)
    else:
        raise ProtocolError(f"the guest sends more than {_ENTRIES_MOST} files")
    while stream.read(_CHUNK):  # the padding at the end: without this, the guest's tar would be ended by a closed pipe
        pass
    for entry in links:
        left_out += not _link(entry, into)
    if left_out:
        warn(report, f"not copied out: {left_out} links that lead outside, hard links or special files")
    return total


def _take(stream: IO[bytes], entry: TarEntry, into: Path) -> None:
    """Write an entry's content, or skip it."""
    path = into.joinpath(*entry.parts)
    if entry.kind is Kind.FOLDER:
        path.mkdir(parents=True, exist_ok=True)
    if entry.kind is not Kind.FILE or not entry.parts:
        _copy(stream, None, entry)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # an archive may contain a file twice; the last one counts
    with path.open("xb") as file:
        _copy(stream, file, entry)
        os.fchmod(file.fileno(), users_mode(0o777 if entry.mode & 0o100 else 0o666))


def _copy(stream: IO[bytes], file: IO[bytes] | None, entry: TarEntry) -> None:
    left, padding = entry.size, entry.padded - entry.size
    while left:
        part = _exactly(stream, min(left, _CHUNK))
        if file is not None:
            file.write(part)
        left -= len(part)
    _exactly(stream, padding)


def _link(entry: TarEntry, into: Path) -> bool:
    path = into.joinpath(*entry.parts)
    if not entry.parts or not entry.leads_inside or os.path.lexists(path):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(into)):
        return False
    path.symlink_to(entry.target)
    return True


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count) if count else b""
    if len(data) != count:
        raise ProtocolError("the guest's archive ends early")
    return data
