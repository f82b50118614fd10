"""How paths are spelled in text, and which names look the same. Band: core, no I/O.

A path is bytes, in any encoding. In text its bytes are percent-encoded (RFC 3986, 2.1), so that each name of each guest
comes back as it was. A Mac and a Linux computer may spell one visible name in two ways (Unicode NFC and NFD).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pommel.errors import UsageError
from pommel.sftp.tree import NAME_MAX, PATH_MAX, plain_name

HOME = b"~"
_PART_LETTERS = 40  # of the name, in that of an incomplete upload
_PART_HASH = 16
# What controls the reader's eyes: control characters, and those that change the order of the text.
_MISLEADS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def path_in(text: str) -> bytes:
    """Read a path: percent-encoded bytes that begin with `/` or `~`, the user's home folder.

    Raises:
        UsageError: it is no such path, or too long for one.
    """
    path = unquote_to_bytes(text)
    parts = path.split(b"/")
    if parts[0] not in (b"", HOME) or not path:
        raise UsageError("a path begins with / or ~")
    if b"\0" in path or len(path) > PATH_MAX or max(map(len, parts)) > NAME_MAX:
        raise UsageError("no file can have this path: it is too long, or contains a NUL byte")
    return path


def entry_in(text: str) -> bytes:
    """Read the path of an entry in a folder: as `path_in`, and it ends with a name.

    Raises:
        UsageError: it is no such path, or names a folder by `.` or `..`.
    """
    path = path_in(text)
    if not plain_name(path.rpartition(b"/")[2]) or b"/" not in path:
        raise UsageError("this path does not end with a name")
    return path


def spelled(path: bytes) -> str:
    """A path or a name in text, for `path_in`."""
    return quote_from_bytes(path, safe="/-._~")


def display(name: bytes) -> str:
    """A name or a path for people: what is not UTF-8, or misleads the reader, becomes U+FFFD."""
    return _MISLEADS.sub("\ufffd", name.decode(errors="replace"))


def parent(path: bytes) -> bytes:
    """The folder of an entry."""
    return path.rpartition(b"/")[0] or b"/"


def name_of(path: bytes) -> bytes:
    """The name of an entry."""
    return path.rpartition(b"/")[2]


def joined(folder: bytes, name: bytes) -> bytes:
    """The path of an entry of a folder."""
    return folder.rstrip(b"/") + b"/" + name


def looks_like(one: bytes, other: bytes) -> bool:
    """Whether two names look the same: equal, or equal in NFC."""
    return one == other or _composed(one) == _composed(other)


def differs_in_case_only(one: bytes, other: bytes) -> bool:
    """Whether two different names may be one file for a file system that ignores case or normalization."""
    return one != other and _composed(one).casefold() == _composed(other).casefold()


def _composed(name: bytes) -> str:
    return unicodedata.normalize("NFC", name.decode("utf-8", "surrogateescape"))


def part_name(name: bytes, size: int, mtime: int) -> bytes:
    """The name under which the upload of a file is kept until it is whole.

    It is the same for the same file (by name, size and date), so that a later try continues. It is hidden, and short
    enough for a name.
    """
    told = hashlib.sha256(b"%s\0%d\0%d" % (name, size, mtime)).hexdigest()[:_PART_HASH]
    shown = name.decode(errors="ignore")[:_PART_LETTERS].encode()
    return b".%s.%s.part" % (shown, told.encode())
