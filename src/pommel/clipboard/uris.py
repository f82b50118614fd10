"""Lists of files on a clipboard: text/uri-list, and the file managers' own form. Band: core, no I/O.

A path is bytes, in any encoding; a URI escapes all bytes that are not plain (RFC 3986, RFC 8089, RFC 2483 for the
list). Links to anything but files of the same machine are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SCHEME = b"file://"
# A comment by RFC 2483, so that other programs ignore it.
_CUT = b"# cut"


def paths_of(uris: bytes) -> tuple[bytes, ...]:
    """The absolute paths in a list of URIs, each once; URIs that are not files of the same machine are left out."""
    found = (_path(line.strip()) for line in uris.split(b"\n"))
    return tuple(dict.fromkeys(path for path in found if path))


def uri_list(paths: Iterable[bytes], *, cut: bool = False) -> bytes:
    """Absolute paths as text/uri-list, one per line, with CR LF."""
    lines = [_CUT] if cut else []
    lines += [_SCHEME + quote_from_bytes(path, safe="/-._~").encode() for path in paths]
    return b"".join(line + b"\r\n" for line in lines)


def is_cut(uris: bytes) -> bool:
    """Whether the files were cut, not copied."""
    return uris.startswith(_CUT + b"\r\n")


def from_gnome(data: bytes) -> bytes:
    """Convert x-special/gnome-copied-files (`copy` or `cut`, then a URI per line; Nautilus, Thunar) to a list."""
    verb, *lines = data.rstrip(b"\0").split(b"\n")
    return b"".join(line + b"\r\n" for line in [*([_CUT] if verb == b"cut" else []), *lines] if line)


def to_gnome(uris: bytes) -> bytes:
    """Convert a list of URIs to x-special/gnome-copied-files. Always `copy`: files cut on the other side stay there."""
    return b"\n".join([b"copy", *(line for line in uris.split(b"\r\n") if line and not line.startswith(b"#"))])


def mark_cut(uris: bytes) -> bytes:
    """The list with the mark for files that were cut (KDE has this mark in a form of its own)."""
    return uris if is_cut(uris) else _CUT + b"\r\n" + uris


def _path(uri: bytes) -> bytes | None:
    if uri[:5].lower() != b"file:":
        return None
    rest = uri[5:]
    if rest.startswith(b"//"):
        # Any host name counts as this machine: a file manager only copies files that are mounted here.
        rest = b"/" + rest[2:].partition(b"/")[2]
    path = unquote_to_bytes(rest)
    return path if path.startswith(b"/") and b"\0" not in path else None
