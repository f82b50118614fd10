"""Lists of files as clipboards hold them: text/uri-list and what file managers add. Band: core, no I/O.

A path is bytes, whatever encoding its names are in; a URI escapes all of them that are not plain (RFC 3986, RFC 8089,
RFC 2483 for the list). Links to anything but files of the same machine are no files.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SCHEME = b"file://"
# A comment as RFC 2483 has it, so that who does not know it passes over it.
_CUT = b"# cut"
SHOWN = 60


def paths_of(uris: bytes) -> tuple[bytes, ...]:
    """The absolute paths that a list of URIs names, each once; what names no file of the same machine is left out."""
    found = (_path(line.strip()) for line in uris.split(b"\n"))
    return tuple(dict.fromkeys(path for path in found if path))


def uri_list(paths: Iterable[bytes], *, cut: bool = False) -> bytes:
    """Absolute paths as text/uri-list, a line each, ended by CR LF."""
    lines = [_CUT] if cut else []
    lines += [_SCHEME + quote_from_bytes(path, safe="/-._~").encode() for path in paths]
    return b"".join(line + b"\r\n" for line in lines)


def is_cut(uris: bytes) -> bool:
    """Whether the files were cut, not copied, where the list was made."""
    return uris.startswith(_CUT + b"\r\n")


def from_gnome(data: bytes) -> bytes:
    """Make a list of URIs of x-special/gnome-copied-files: `copy` or `cut`, then a URI a line (Nautilus, Thunar)."""
    verb, *lines = data.rstrip(b"\0").split(b"\n")
    return b"".join(line + b"\r\n" for line in [*([_CUT] if verb == b"cut" else []), *lines] if line)


def to_gnome(uris: bytes) -> bytes:
    """Make x-special/gnome-copied-files of a list of URIs. Always a copy: what was cut elsewhere stays there."""
    return b"\n".join([b"copy", *(line for line in uris.split(b"\r\n") if line and not line.startswith(b"#"))])


def mark_cut(uris: bytes) -> bytes:
    """The same list, of files that were cut (KDE says so in a form of its own)."""
    return uris if is_cut(uris) else _CUT + b"\r\n" + uris


def shown(path: bytes) -> str:
    """A file's name for people: no control characters, no line ends, not endless."""
    name = path.rstrip(b"/").rpartition(b"/")[2].decode(errors="replace") or "/"
    plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return plain if len(plain) <= SHOWN else plain[: SHOWN - 1] + "…"


def _path(uri: bytes) -> bytes | None:
    if uri[:5].lower() != b"file:":
        return None
    rest = uri[5:]
    if rest.startswith(b"//"):
        # The host is this machine's own by any of its names: what a file manager copies is mounted here.
        rest = b"/" + rest[2:].partition(b"/")[2]
    path = unquote_to_bytes(rest)
    return path if path.startswith(b"/") and b"\0" not in path else None
