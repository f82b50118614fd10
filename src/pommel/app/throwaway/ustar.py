"""Read a tar archive from a guest, block by block. Band: core, no I/O.

Only the format of `tar --format=ustar` is read (POSIX.1-1988, "ustar Interchange Format"; tar(5)). There every name is
in the header of 512 bytes, so no length from the guest decides how much memory is used. Names with ".." or a leading
"/" are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pommel.errors import ProtocolError

BLOCK = 512
_SUM = slice(148, 156)
_MAGIC = b"ustar"


class Kind(Enum):
    """The kind of an entry; `OTHER` is a device, a FIFO or a hard link."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class TarEntry:
    """One entry: its path in parts, the size of its content in bytes, its permissions, and a link's target."""

    parts: tuple[str, ...]
    kind: Kind
    size: int
    mode: int
    target: str = ""

    @property
    def padded(self) -> int:
        """The number of bytes after the header, in whole blocks."""
        return -(-self.size // BLOCK) * BLOCK

    @property
    def leads_inside(self) -> bool:
        """Whether a link's target is below the archive's top."""
        depth = len(self.parts) - 1
        for part in self.target.split("/"):
            if part == "..":
                depth -= 1
            elif part not in ("", "."):
                depth += 1
            if depth < 0:
                return False
        return bool(self.target) and not self.target.startswith("/")


def parse_header(block: bytes) -> TarEntry | None:
    """Read a header of 512 bytes; None: an empty block, which ends an archive.

    Raises:
        ProtocolError: it is not a header of this format, or its name is not below the archive's top.
    """
    if not any(block):
        return None
    if len(block) != BLOCK or block[257:262] != _MAGIC or _number(block[_SUM]) != _checksum(block):
        raise ProtocolError("the guest's archive is damaged, or in another format than tar's ustar")
    prefix, name = _text(block[345:500]), _text(block[:100])
    path = f"{prefix}/{name}" if prefix else name
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if path.startswith("/") or ".." in parts or any("\0" in part for part in parts):
        raise ProtocolError(f"the guest's archive has a name that leads outside: {path!r}")
    kind = {b"0": Kind.FILE, b"\0": Kind.FILE, b"7": Kind.FILE, b"5": Kind.FOLDER, b"2": Kind.LINK}.get(
        block[156:157], Kind.OTHER
    )
    size = _number(block[124:136])
    return TarEntry(parts, kind, size, _number(block[100:108]) & 0o777, _text(block[157:257]))


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _number(field: bytes) -> int:
    digits = field.strip(b"\0 ")
    if not digits:
        return 0
    if any(digit not in b"01234567" for digit in digits):
        raise ProtocolError(f"the guest's archive has the number {digits!r}, which is not octal")
    return int(digits, 8)


def _checksum(block: bytes) -> int:
    """The sum of a header's bytes; the field of the sum itself counts as eight spaces (tar(5))."""
    return sum(block) - sum(block[_SUM]) + 8 * 0x20
