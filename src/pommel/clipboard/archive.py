"""A copied folder as a tar archive, made while it is sent. Band: core, no I/O.

Its length is known before the first byte, so that who gets less knows that it is not whole. A person unpacks it on any
system, with any program: the folder's own name is no path there, what Windows would take for a path inside is left out,
nobody owns anything, no program runs as somebody else, and links are last, so that nothing is written through one.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from pommel.clipboard.tree import Entry, EntryKind, Plan

_NAME_BYTES = 200  # Linux and macOS have 255; the browser adds to it
_BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * _BLOCK)
_KINDS = {EntryKind.FOLDER: tarfile.DIRTYPE, EntryKind.FILE: tarfile.REGTYPE, EntryKind.LINK: tarfile.SYMTYPE}


def top_name(shown: str) -> str:
    """What the archive's folder is called, from a name without control characters."""
    plain = "".join("_" if letter in '\\/:*?"<>|' else letter for letter in shown).strip(" .")
    return plain.encode()[:_NAME_BYTES].decode(errors="ignore") or "folder"


class Archive:
    """What of one planned folder is in its archive, under the name `top`; `now_s` dates what has no date."""

    def __init__(self, plan: Plan, top: str, now_s: int) -> None:
        kept = [entry for entry in plan.entries if b"\\" not in entry.path.partition(b"/")[2] + entry.target]
        self._entries = sorted(kept, key=lambda entry: entry.kind is EntryKind.LINK)
        self._top, self._now_s = top, now_s
        self.left_out = plan.left_out + len(plan.entries) - len(kept)

    def parts(self) -> Iterator[tuple[bytes, Entry | None]]:
        """Bytes of the archive, each with the file whose contents follow them, if one's do; then `padding` of it."""
        for entry in self._entries:
            yield self._head(entry), entry if entry.kind is EntryKind.FILE else None
        if self.left_out:
            yield self._note(), None
        yield END, None

    @property
    def length(self) -> int:
        """Of all of it. It takes a moment for a large folder."""
        return sum(len(head) + _whole(entry.size if entry else 0) for head, entry in self.parts())

    def _head(self, entry: Entry) -> bytes:
        _, slash, inner = entry.path.partition(b"/")
        info = tarfile.TarInfo(self._top + slash.decode() + inner.decode("utf-8", "surrogateescape"))
        info.type, info.size, info.mtime = _KINDS[entry.kind], entry.size, entry.mtime or self._now_s
        info.linkname = entry.target.decode("utf-8", "surrogateescape")
        # Whoever unpacks it can look into it and throw it away.
        info.mode = (
            0o777
            if entry.kind is EntryKind.LINK
            else entry.mode & 0o777 | (0o700 if entry.kind is EntryKind.FOLDER else 0o600)
        )
        return _made(info)

    def _note(self) -> bytes:
        told = (
            f"Not included in this archive: {self.left_out}.\nThey are links that lead outside of the folder, special "
            "files,\nor names with a backslash, which Windows treats as a path.\n"
        ).encode()
        info = tarfile.TarInfo(f"{self._top} (left out).txt")
        info.size, info.mtime, info.mode = len(told), self._now_s, 0o600
        return _made(info) + told + padding(len(told))


def _made(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """What follows so many bytes of a file."""
    return bytes(_whole(size) - size)


def _whole(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
