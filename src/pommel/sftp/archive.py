"""A copied folder as a tar archive, made while it is sent. Band: core, no I/O.

Its length is known before the first byte, so that the receiver can detect an incomplete archive. A person unpacks it on
any system with any program. So the top folder's name has no path separators, names with a backslash (a path on Windows)
are left out, there are no owners and no set-uid bits, and links come last, so that no file is written through a link.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from pommel.sftp.tree import CopyPlan, EntryKind, TreeEntry, shown

_NAME_BYTES = 200  # Linux and macOS allow 255; the browser adds a suffix
_UNREAD_NAMED = 100
_BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * _BLOCK)
_KINDS = {EntryKind.FOLDER: tarfile.DIRTYPE, EntryKind.FILE: tarfile.REGTYPE, EntryKind.LINK: tarfile.SYMTYPE}


def top_name(shown: str) -> str:
    """The name of the archive's top folder, made from a name without control characters."""
    plain = "".join("_" if letter in '\\/:*?"<>|' else letter for letter in shown).strip(" .")
    return plain.encode()[:_NAME_BYTES].decode(errors="ignore") or "folder"


class Archive:
    """The archive of one planned folder, with the name `top`. Entries without a date get `now_s`."""

    def __init__(self, plan: CopyPlan, top: str, now_s: int) -> None:
        kept = [entry for entry in plan.entries if b"\\" not in entry.path.partition(b"/")[2] + entry.target]
        self._entries = sorted(kept, key=lambda entry: entry.kind is EntryKind.LINK)
        self._top, self._now_s = top, now_s
        self.left_out = plan.left_out + len(plan.entries) - len(kept)
        self._unread = plan.unread

    def parts(self) -> Iterator[tuple[bytes, TreeEntry | None]]:
        """Parts of the archive.

        If a part comes with a file, the file's contents follow it, and then `padding(size)`.
        """
        for entry in self._entries:
            yield self._head(entry), entry if entry.kind is EntryKind.FILE else None
        if self.left_out or self._unread:
            yield self._left_out_file(), None
        yield END, None

    @property
    def length(self) -> int:
        """The archive's length in bytes. For a large folder, counting takes a moment."""
        return sum(len(head) + _whole(entry.size if entry else 0) for head, entry in self.parts())

    def _head(self, entry: TreeEntry) -> bytes:
        _, slash, inner = entry.path.partition(b"/")
        info = tarfile.TarInfo(self._top + slash.decode() + inner.decode("utf-8", "surrogateescape"))
        info.type, info.size, info.mtime = _KINDS[entry.kind], entry.size, entry.mtime or self._now_s
        info.linkname = entry.target.decode("utf-8", "surrogateescape")
        # The person who unpacks it must be able to open and to delete all entries.
        info.mode = (
            0o777
            if entry.kind is EntryKind.LINK
            else entry.mode & 0o777 | (0o700 if entry.kind is EntryKind.FOLDER else 0o600)
        )
        return _header(info)

    def _left_out_file(self) -> bytes:
        told = "\n".join((*self._told_left_out(), *self._told_unread(), "")).encode()
        info = tarfile.TarInfo(f"{self._top} (left out).txt")
        info.size, info.mtime, info.mode = len(told), self._now_s, 0o600
        return _header(info) + told + padding(len(told))

    def _told_left_out(self) -> Iterator[str]:
        if self.left_out:
            yield f"Not included in this archive: {self.left_out}."
            yield "They are links that lead outside of the folder, special files,"
            yield "or names with a backslash, which Windows treats as a path."

    def _told_unread(self) -> Iterator[str]:
        if self._unread:
            yield f"Not included, because they could not be read: {len(self._unread)}."
            yield from (shown(path) for path in self._unread[:_UNREAD_NAMED])
            if len(self._unread) > _UNREAD_NAMED:
                yield "…"


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """The zeros that follow a file of `size` bytes."""
    return bytes(_whole(size) - size)


def _whole(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
