from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.clipboard.uris import from_gnome, is_cut, mark_cut, paths_of, to_gnome, uri_list

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: not {0, 47} & set(name))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: b"/" + b"/".join(names))


@given(st.lists(PATHS, unique=True), st.booleans())
def test_any_path_there_and_back(paths: list[bytes], cut: bool) -> None:
    uris = uri_list(paths, cut=cut)
    assert paths_of(uris) == tuple(paths)
    assert uris.isascii() and is_cut(uris) == cut
    # As a file manager says it; what was cut elsewhere is offered as a copy.
    assert to_gnome(uris).split(b"\n")[0] == b"copy"
    assert paths_of(from_gnome(to_gnome(uris))) == tuple(paths)
    assert is_cut(mark_cut(uris)) and paths_of(mark_cut(uris)) == tuple(paths)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_list_of_absolute_paths(data: bytes) -> None:
    for path in (*paths_of(data), *paths_of(b"file:" + data), *paths_of(from_gnome(data))):
        assert path.startswith(b"/") and b"\0" not in path


@pytest.mark.parametrize(
    ("uris", "paths"),
    [
        (b"file:///a%20b\r\n", (b"/a b",)),
        (b"file:///a\nfile:///b", (b"/a", b"/b")),
        (b"# comment\r\nFILE:///a\r\n\r\nfile:///a\r\n", (b"/a",)),
        (b"file://localhost/a\r\nfile://box/b\r\nfile:/c\r\n", (b"/a", b"/b", b"/c")),
        (b"http://x/a\r\nsmb://x/a\r\nfile:a\r\nfile:///a%00b\r\n", ()),
        (b"file:///a%2", (b"/a%2",)),
        (b"file:///.file/id=6571367.1", (b"/.file/id=6571367.1",)),
        (b"file:///folder/", (b"/folder/",)),
    ],
)
def test_lists_of_all_kinds(uris: bytes, paths: tuple[bytes, ...]) -> None:
    assert paths_of(uris) == paths


def test_what_file_managers_say() -> None:
    assert from_gnome(b"copy\nfile:///a\nfile:///b%20c\n\0") == b"file:///a\r\nfile:///b%20c\r\n"
    assert from_gnome(b"cut\nfile:///a") == b"# cut\r\nfile:///a\r\n"
    assert to_gnome(b"# cut\r\nfile:///a\r\nfile:///b\r\n") == b"copy\nfile:///a\nfile:///b"
