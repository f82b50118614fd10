from __future__ import annotations

import contextlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import UsageError
from pommel.sftp import spelling
from pommel.sftp.tree import NAME_MAX, PATH_MAX, plain_name

NAMES = st.binary(min_size=1, max_size=40).filter(plain_name)


@given(st.lists(NAMES, max_size=5))
def test_any_path_comes_back(names: list[bytes]) -> None:
    path = b"/" + b"/".join(names)
    text = spelling.spelled(path)
    assert spelling.path_in(text) == path and text.isascii() and "%2F" not in text
    if names:
        assert spelling.entry_in(text) == path
        assert spelling.joined(spelling.parent(path), spelling.name_of(path)) == path


@given(st.text())
def test_any_text_is_a_path_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        path = spelling.path_in(text)
        assert path.split(b"/")[0] in (b"", b"~") and b"\0" not in path


@pytest.mark.parametrize(
    "text", ["", "a", "a/b", "~bob", "./x", "../x", "/a%00b", "/" + "a" * (NAME_MAX + 1), "/a" * PATH_MAX]
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(UsageError):
        spelling.path_in(text)


@pytest.mark.parametrize("text", ["/", "/a/", "/a/..", "/.", "~", "~/", "/a/%2e%2e"])
def test_what_is_no_entry(text: str) -> None:
    spelling.path_in(text)
    with pytest.raises(UsageError):
        spelling.entry_in(text)


def test_names_for_people() -> None:
    assert spelling.display("Screenshot 1.00\u202fPM.png".encode()) == "Screenshot 1.00\u202fPM.png"
    assert spelling.display("👨‍👩‍👧".encode()) == "👨‍👩‍👧"
    assert spelling.display("a\u202egpj.exe\n\x1b[2J".encode()) == "a\ufffdgpj.exe\ufffd\ufffd[2J"
    assert spelling.display(b"\xff") == "\ufffd"


def test_names_that_look_the_same() -> None:
    composed, apart = "é.txt".encode(), unicodedata.normalize("NFD", "é.txt").encode()
    assert composed != apart and spelling.looks_like(composed, apart) and spelling.looks_like(apart, composed)
    assert not spelling.looks_like(b"e.txt", composed) and spelling.looks_like(b"\xff", b"\xff")
    assert not spelling.looks_like(b"\xff", b"\xfe")
    assert spelling.differs_in_case_only(b"Foo", b"foo") and spelling.differs_in_case_only(composed, apart)
    assert not spelling.differs_in_case_only(b"foo", b"foo") and not spelling.differs_in_case_only(b"foo", b"bar")


@given(NAMES, st.integers(0, 1 << 63), st.integers(0, 1 << 40))
def test_an_incomplete_upload_has_a_short_hidden_name(name: bytes, size: int, mtime: int) -> None:
    part = spelling.part_name(name, size, mtime)
    assert part.startswith(b".") and len(part) <= 255 and plain_name(part) and part != name
    part.decode()  # a Mac refuses names that are not UTF-8
    assert part != spelling.part_name(name, size + 1, mtime) and part == spelling.part_name(name, size, mtime)
