"""What a viewer asks of a device's files, and the answers. Band: core, no I/O.

One JSON object for each message; data of a file is binary, and begins with a zero byte where it could be taken for
JSON. Field names and numbers are those of MeshCentral's page. What is unknown or malformed is ignored.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pommel.foreign import parse_json
from pommel.sftp.browsing import FolderEntry, FolderListing
from pommel.sftp.spelling import display
from pommel.sftp.tree import NAME_MAX, PATH_MAX, plain_name

BLOCK = 16380  # bytes of a file in one message; the page's own reading fails from 50 KB on
WINDOW = 8
_WINDOW_MAX = 64
_NAMES_MAX = 20_000
_LAST, _MORE = 0x01000001, 0x01000000
_FOLDER, _FILE = 2, 3
_LATEST = 253402300799  # the last second that a date has


@dataclass(frozen=True, slots=True)
class ListFolder:
    """List a folder; `path` is what the answer repeats."""

    path: bytes
    asked: Any


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """Make a folder."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete entries of a folder; `whole`: folders with all that is in them."""

    paths: tuple[bytes, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Rename:
    """Rename an entry."""

    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class MoveFiles:
    """Copy files into another folder, or move them."""

    pairs: tuple[tuple[bytes, bytes], ...]
    move: bool


@dataclass(frozen=True, slots=True)
class StartDownload:
    """Send a file. `number` is the page's name for it."""

    number: Any
    path: bytes


@dataclass(frozen=True, slots=True)
class MoreBlocks:
    """The page has room for so many more blocks."""

    number: Any
    count: int


@dataclass(frozen=True, slots=True)
class StopDownload:
    """The page does not want the rest."""

    number: Any


@dataclass(frozen=True, slots=True)
class StartUpload:
    """A file follows, of this size."""

    number: Any
    path: bytes
    size: int


@dataclass(frozen=True, slots=True)
class FileData:
    """A part of the file that is uploaded."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EndUpload:
    """The file is whole, or not wanted any more."""

    keep: bool


@dataclass(frozen=True, slots=True)
class HashFile:
    """The page would go on with a file if it knew its hash; we do not tell one, so it sends the file."""

    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pack:
    """Put entries of a folder into a new zip file there."""

    folder: bytes
    names: tuple[bytes, ...]
    output: bytes


@dataclass(frozen=True, slots=True)
class CancelPacking:
    """Do not go on with the zip file."""


@dataclass(frozen=True, slots=True)
class NotOffered:
    """Something that this device does not do; `what` is for people."""

    what: str


FileOrder = (
    ListFolder | MakeFolder | Remove | Rename | MoveFiles | StartDownload | MoreBlocks | StopDownload | StartUpload
    | FileData | EndUpload | HashFile | Pack | CancelPacking | NotOffered
)  # fmt: skip
_Said = Mapping[str, Any]


class _Malformed(Exception):
    pass


def parse_file_order(message: bytes) -> FileOrder | None:
    """Parse a message of the viewer; None: it is not for us, or is not valid."""
    if message[:1] != b"{":
        return FileData(message[1:] if message[:1] == b"\0" else message)
    try:
        said = parse_json(message)
    except ValueError:
        return None
    read = _ORDERS.get(str(said.get("action"))) if isinstance(said, dict) else None
    try:
        return read(said) if read is not None else None
    except _Malformed:
        return None


def wanted_file(text: object) -> bytes | None:
    """The path in the relay's options for a download without a page; None: there is none."""
    try:
        return _path(text)
    except _Malformed:
        return None


# --- answers ---


def listing(order: ListFolder, path: str, found: FolderListing | None) -> bytes:
    """The entries of a folder; None: it cannot be listed, so the page goes back."""
    entries = None if found is None else [one for entry in found.entries if (one := _entry(entry)) is not None]
    return _message(path=path, dir=entries, reqid=order.asked)


def _entry(entry: FolderEntry) -> dict[str, Any] | None:
    folder = "folder" in (entry.kind, entry.leads)
    if not folder and "file" not in (entry.kind, entry.leads):
        return None
    date = datetime.fromtimestamp(min(entry.mtime, _LATEST), UTC).isoformat().replace("+00:00", "Z")
    told = {"n": entry.name.decode(errors="replace"), "t": _FOLDER if folder else _FILE, "d": date}
    return told if folder else {**told, "s": entry.size}


def upload_answer(what: str, number: Any) -> bytes:
    """What became of an upload: `start`, `ack` (send more), `done`, `cancel` or `error`."""
    return _message(action=f"upload{what}", reqid=number)


def download_answer(what: str, number: Any) -> bytes:
    """That a download begins (`start`) or ends without the file (`cancel`)."""
    return _message(action="download", sub=what, id=number)


def no_hash(order: HashFile) -> bytes:
    """No hash of a file: the page sends all of it."""
    kept = {key: order.said.get(key) for key in ("reqid", "path", "name", "tag")}
    return _message(action="uploadhash", hash=None, **kept)


def packing(file: bytes | None, percent: int = 0) -> bytes:
    """The dialog of a zip file that is being made; None: it is over."""
    if file is None:
        return _message(action="dialogmessage", msg=None)
    return _message(action="dialogmessage", msg="zippingFile", file=display(file), progress=percent)


def refresh() -> bytes:
    """Let the page list its folder again."""
    return _message(action="refresh")


def block(data: bytes, *, last: bool) -> bytes:
    """A part of a file that is downloaded."""
    return struct.pack(">I", _LAST if last else _MORE) + data


def file_begins(size: int) -> str:
    """The answer to a download without a page: the file follows."""
    return json.dumps({"op": "ok", "size": size})


FILE_REFUSED = json.dumps({"op": "cancel"})


def _message(**said: Any) -> bytes:
    return json.dumps(said).encode()


# --- reading ---


def _path(value: object) -> bytes:
    if not isinstance(value, str):
        raise _Malformed
    path = value.encode(errors="replace")
    path = path if path.startswith(b"/") else b"/" + path
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    # No `..`: the server's log names the path as it is, and must not mislead its reader.
    if b"\0" in path or b".." in names or len(path) > PATH_MAX or any(len(name) > NAME_MAX for name in names):
        raise _Malformed
    return b"/" + b"/".join(names)


def _name(value: object) -> bytes:
    name = value.encode(errors="replace") if isinstance(value, str) else b""
    if not plain_name(name) or len(name) > NAME_MAX:
        raise _Malformed
    return name


def _names(value: object) -> list[bytes]:
    if not isinstance(value, list) or not 0 < len(value) <= _NAMES_MAX:
        raise _Malformed
    return [_name(one) for one in value]


def _inside(folder: object, name: object) -> bytes:
    return _path(folder).rstrip(b"/") + b"/" + _name(name)


def _entry_path(said: _Said) -> bytes:
    path = _path(said.get("path"))
    if path == b"/":
        raise _Malformed
    return path


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise _Malformed
    return value


def _transfer(said: _Said) -> MoveFiles:
    source, target = _path(said.get("scpath")), _path(said.get("dspath"))
    names = _names(said.get("names"))
    pairs = tuple((source.rstrip(b"/") + b"/" + name, target.rstrip(b"/") + b"/" + name) for name in names)
    return MoveFiles(pairs, said.get("action") == "move")


def _download(said: _Said) -> FileOrder | None:
    number, sub = said.get("id"), said.get("sub")
    if sub == "start":
        return StartDownload(number, _entry_path(said))
    if sub == "startack":
        asked = said.get("ack", WINDOW)
        return MoreBlocks(number, max(1, min(_number(asked), _WINDOW_MAX)))
    if sub == "ack":
        return MoreBlocks(number, 1)
    return StopDownload(number) if sub in ("stop", "cancel") else None


def _upload(said: _Said) -> StartUpload:
    path = _inside(said.get("path"), said["name"]) if said.get("name") else _entry_path(said)
    return StartUpload(said.get("reqid"), path, _number(said.get("size")))


def _pack(said: _Said) -> Pack:
    return Pack(_path(said.get("path")), tuple(_names(said.get("files"))), _name(said.get("output")))


def _remove(said: _Said) -> Remove:
    folder = _path(said.get("path")).rstrip(b"/")
    return Remove(tuple(folder + b"/" + name for name in _names(said.get("delfiles"))), said.get("rec") is True)


_ORDERS: dict[str, Callable[[_Said], FileOrder | None]] = {
    "ls": lambda said: ListFolder(_path(said.get("path")), said.get("reqid")),
    "mkdir": lambda said: MakeFolder(_entry_path(said)),
    "rm": _remove,
    "rename": lambda said: Rename(
        _inside(said.get("path"), said.get("oldname")), _inside(said.get("path"), said.get("newname"))
    ),
    "copy": _transfer,
    "move": _transfer,
    "download": _download,
    "upload": _upload,
    "uploaddone": lambda _: EndUpload(keep=True),
    "uploadcancel": lambda _: EndUpload(keep=False),
    "uploadhash": HashFile,
    "zip": _pack,
    "cancel": lambda _: CancelPacking(),
    "unzip": lambda _: NotOffered("unpack zip files"),
    "open": lambda _: NotOffered("open files on its desktop"),
    "findfile": lambda _: NotOffered("search for files"),
}
