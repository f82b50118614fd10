from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.mesh import file_orders as o
from pommel.sftp.browsing import FolderEntry, FolderListing


def said(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("message", "order"),
    [
        (said(action="ls", path="", reqid=1), o.ListFolder(b"/", 1)),
        (said(action="ls", path="home//ü/", reqid="x"), o.ListFolder("/home/ü".encode(), "x")),
        (said(action="mkdir", path="home/new"), o.MakeFolder(b"/home/new")),
        (said(action="rm", path="a", delfiles=["x", "y"], rec=True), o.Remove((b"/a/x", b"/a/y"), whole=True)),
        (said(action="rm", path="", delfiles=["x"]), o.Remove((b"/x",), whole=False)),
        (said(action="rename", path="a", oldname="x", newname="y"), o.Rename(b"/a/x", b"/a/y")),
        (said(action="copy", scpath="a", dspath="b", names=["x"]), o.MoveFiles(((b"/a/x", b"/b/x"),), move=False)),
        (said(action="move", scpath="", dspath="b", names=["x"]), o.MoveFiles(((b"/x", b"/b/x"),), move=True)),
        (said(action="download", sub="start", id=0.5, path="a/x"), o.StartDownload(0.5, b"/a/x")),
        (said(action="download", sub="startack", id=0.5), o.MoreBlocks(0.5, 8)),
        (said(action="download", sub="startack", id=0.5, ack=10**9), o.MoreBlocks(0.5, 64)),
        (said(action="download", sub="ack", id=0.5), o.MoreBlocks(0.5, 1)),
        (said(action="download", sub="cancel", id=0.5), o.StopDownload(0.5)),
        (said(action="upload", reqid=0, path="a", name="x", size=9), o.StartUpload(0, b"/a/x", 9)),
        (said(action="uploaddone"), o.EndUpload(keep=True)),
        (said(action="uploadcancel"), o.EndUpload(keep=False)),
        (said(action="zip", path="a", files=["x"], output="o.zip"), o.Pack(b"/a", (b"x",), b"o.zip")),
        (said(action="cancel"), o.CancelPacking()),
        (b"data", o.FileData(b"data")),
        (b"\0{data", o.FileData(b"{data")),
        (b"", o.FileData(b"")),
    ],
)
def test_what_the_page_asks(message: bytes, order: o.FileOrder) -> None:
    assert o.parse_file_order(message) == order


@pytest.mark.parametrize(
    "message",
    [
        b"{", b"{}", said(action="other"), said(action="ls", path=5), said(action="ls", path="a/../b"), said(action="mkdir", path="/"),
        said(action="rm", path="a", delfiles=[".."], rec=True), said(action="rm", path="a", delfiles=["x/y"]),
        said(action="rm", path="a", delfiles=[]), said(action="rm", path="a", delfiles="x"), said(action="rm", path="a"),
        said(action="rename", path="a", oldname="x", newname="../y"), said(action="upload", path="a", name="x", size=-1),
        said(action="upload", path="a", name="../x", size=1), said(action="upload", path="a", name="x"),
        said(action="download", sub="start", path="/"), said(action="download", sub="other"),
        said(action="zip", path="a", files=["x"], output="../o.zip"), said(action="ls", path="a\0b"),
    ],
)  # fmt: skip
def test_what_is_ignored(message: bytes) -> None:
    assert o.parse_file_order(message) is None


@given(
    st.binary()
    | st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())).map(json.dumps).map(str.encode)
)
def test_anything_may_come(message: bytes) -> None:
    with contextlib.suppress(ValueError):
        o.parse_file_order(message)


def test_a_folder_as_the_page_shows_it() -> None:
    entries = (
        FolderEntry(b"dir", "folder", 1, 0), FolderEntry("ü".encode(), "file", 7, 1_000_000_000), FolderEntry(b"p", "other", 0, 0),
        FolderEntry(b"to", "link", 0, 1 << 40, "folder"), FolderEntry(b"lost", "link", 0, 0),
    )  # fmt: skip
    told = json.loads(o.listing(o.ListFolder(b"/a", 3), "/a", FolderListing(b"/a", entries, False, None)))
    assert told == {
        "path": "/a",
        "reqid": 3,
        "dir": [
            {"n": "dir", "t": 2, "d": "1970-01-01T00:00:00Z"},
            {"n": "ü", "t": 3, "d": "2001-09-09T01:46:40Z", "s": 7},
            {"n": "to", "t": 2, "d": "9999-12-31T23:59:59Z"},
        ],
    }
    assert json.loads(o.listing(o.ListFolder(b"/a", 3), "/a", None))["dir"] is None


def test_blocks() -> None:
    assert o.block(b"x", last=False) == b"\x01\0\0\0x" and o.block(b"", last=True) == b"\x01\0\0\x01"
    assert o.wanted_file("a/b") == b"/a/b" and o.wanted_file(None) is None and o.wanted_file("..") is None
