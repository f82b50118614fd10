"""What a page says about files (`console.files_query`, `sftp.spelling`), and how a guest's names look."""

from __future__ import annotations

import json
import re

from fuzz.engine import Fuzzer, expect, mixed
from fuzz.mesh import JSON_TOKENS
from pommel.console.files_query import FilesQuery
from pommel.errors import UsageError
from pommel.mesh import file_orders
from pommel.sftp import spelling
from pommel.sftp.tree import NAME_MAX, PATH_MAX, plain_name

_QUERIES = (
    b"path=/home/u/B%C3%BCro&size=12&mtime=1000000000&replace=yes",
    b"path=~/a%20b&at=65536&size=0&mtime=0",
    b"path=~&exists=ok",
    b"path=/a/%FF%0A&to=/a/..%2Fb",
)
_WORDS = (b"path=", b"&", b"=", b"%", b"%00", b"%2F", b"/", b"..", b"~", b"size=", b"+", b"%2e%2e", b"9" * 30)
_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")


def check_query(data: bytes) -> None:
    """Any query is refused with words, or has a path that comes back, and an upload beside its file."""
    asked = FilesQuery(data.decode(errors="replace"))
    try:
        path = spelling.path_in(asked.one("path"))
    except UsageError as refusal:
        expect(bool(refusal.message), "a refusal without words")
        return
    expect(path.split(b"/")[0] in (b"", b"~") and b"\0" not in path, "a path that does not begin at a root")
    expect(len(path) <= PATH_MAX and all(len(name) <= NAME_MAX for name in path.split(b"/")), "a path without end")
    expect(spelling.path_in(spelling.spelled(path)) == path, "the path does not come back")
    try:
        upload = asked.upload()
    except UsageError:
        return
    expect(plain_name(spelling.name_of(upload.path)) and upload.size >= 0, "an upload without a name")
    part = upload.part_in(spelling.parent(upload.path))
    expect(spelling.parent(part) == spelling.parent(upload.path), "it is kept in another folder")


_NAMES = (
    "Büro".encode(),
    b"a.txt",
    b"\xff\xfe",
    "\u202egpj.exe".encode(),
    "\U0001f468\u200d\U0001f469".encode(),
    b"a\nb",
)


def check_name(data: bytes) -> None:
    """Any name is shown without what misleads, looks like itself, and has a short name for its incomplete upload."""
    expect(not _CONTROLS.search(spelling.display(data)), "a name with control characters is shown")
    expect(spelling.looks_like(data, data) and not spelling.differs_in_case_only(data, data), "it is not like itself")
    name = data.replace(b"/", b"").replace(b"\0", b"")
    part = spelling.part_name(name, len(data), 0)
    expect(plain_name(part) and len(part) <= 255 and part.startswith(b"."), "the part has no name")


_ORDERS = tuple(
    json.dumps(one).encode()
    for one in (
        {"action": "ls", "path": "/home/ü", "reqid": 1},
        {"action": "rm", "path": "a", "delfiles": ["x", "y"], "rec": True},
        {"action": "rename", "path": "a", "oldname": "x", "newname": "y"},
        {"action": "upload", "path": "a", "name": "x", "size": 9, "reqid": 0},
        {"action": "download", "sub": "startack", "id": 0.5, "ack": 8},
        {"action": "zip", "path": "a", "files": ["x"], "output": "o.zip"},
        {"action": "move", "scpath": "a", "dspath": "b", "names": ["x"]},
    )
)


def check_order(data: bytes) -> None:
    """Any message is ignored, data, or an order whose paths begin at the root and lead nowhere else."""
    order = file_orders.parse_file_order(data)
    if isinstance(order, file_orders.FileData):
        expect(data[:1] != b"{" and len(order.data) <= len(data), "an order is taken for data")
        return
    for path in _paths_of(order):
        names = path.split(b"/")[1:]
        expect(path.startswith(b"/") and b".." not in names and b"\0" not in path, f"the path {path!r}")


def _paths_of(order: object) -> list[bytes]:
    fields = (getattr(order, name, None) for name in ("path", "paths", "old", "new", "folder", "pairs"))
    flat = [one for value in fields for one in (value if isinstance(value, tuple) else (value,))]
    return [path for one in flat for path in (one if isinstance(one, tuple) else (one,)) if isinstance(path, bytes)]


FUZZERS = [
    Fuzzer(
        "mesh-files",
        "ignored, data, or an order whose paths begin at the root, without `..`",
        mixed((*_ORDERS, b"\0{data", b"data"), tokens=(*JSON_TOKENS, b"..", b"/", b'"path"', b'"names"')),
        check_order,
    ),
    Fuzzer(
        "files-query",
        "UsageError with words, or a path that comes back and an upload that is kept beside its file",
        mixed(_QUERIES, tokens=_WORDS, joined=3),
        check_query,
    ),
    Fuzzer(
        "files-names",
        "shown without control characters, like itself; its part has a short, hidden name",
        mixed(_NAMES, tokens=_NAMES, joined=4),
        check_name,
    ),
]
