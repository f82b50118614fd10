from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.sftp import tree
from pommel.sftp.tree import (
    SHOWN,
    EntryKind,
    FilesError,
    Growing,
    NameCount,
    TreeEntry,
    placed,
    plain_name,
    shown,
    stays_inside,
)


def test_each_gets_its_own_name_and_a_folder_apart_if_that_is_taken() -> None:
    assert placed([b"/a/x", b"/b/y/", b"/"]) == [(b"/a/x", b"x"), (b"/b/y/", b"y"), (b"/", b"root")]
    assert [place for _, place in placed([b"/a/x", b"/b/x", b"/c/X", b"/d/2"])] == [b"x", b"2/x", b"3/X", b"4/2"]
    assert [place for _, place in placed([b"/a/2", b"/b/2"])] == [b"2", b"3/2"]


def test_very_many_of_one_name_are_placed_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.process_time()
    assert placed([b"/a/x"] * tree.ENTRIES_MAX)[-1][1] == b"%d/x" % tree.ENTRIES_MAX
    assert time.process_time() - began < 2
    with pytest.raises(FilesError, match="more than 20000 files"):
        placed([b"/a/x"] * (tree.ENTRIES_MAX + 1))


@given(st.lists(st.sampled_from([b"x", b"X", b"2", b"3", b"y"]).map(lambda name: b"/d/" + name), max_size=8))
def test_no_two_go_to_the_same_place(tops: list[bytes]) -> None:
    first = [place.partition(b"/")[0].lower() for _, place in placed(tops)]
    assert len(set(first)) == len(tops)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0"])
def test_no_names(name: bytes) -> None:
    assert not plain_name(name) and plain_name(b"x" + name.strip(b"/\0a/b"))


@pytest.mark.parametrize(
    ("depth", "target", "inside"),
    [
        (0, b"x", True), (0, b"./a//b", True), (1, b"../x", True), (2, b"../../x", True), (1, b"..", True), (0, b".", True),
        (0, b"../x", False), (1, b"../../x", False), (0, b"/etc/passwd", False), (0, b"", False), (3, b"a/../b", False), (0, b"a\0", False),
    ],
)  # fmt: skip
def test_links(depth: int, target: bytes, inside: bool) -> None:
    assert stays_inside(depth, target) is inside


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["l1", "l2", "a/l3", "a/b/l4", "a/b/l5"]),
            st.lists(st.sampled_from(["..", ".", "a", "b", "l1", "l2", "l3", "l4", "x"]), min_size=1, max_size=5).map("/".join),
        ),
        max_size=5,
        unique_by=lambda link: link[0],
    )
)  # fmt: skip
def test_no_chain_of_links_that_stay_leads_out(links: list[tuple[str, str]]) -> None:
    """On a real file system: whatever the links say together, following them never leaves the folder."""
    with tempfile.TemporaryDirectory() as root:
        top = Path(root, "deep/er/top")
        (top / "a/b").mkdir(parents=True)
        for name, target in links:
            if stays_inside(name.count("/"), target.encode()):
                (top / name).symlink_to(target)
        real_top = os.path.realpath(top)
        for name, _ in links:
            real = os.path.realpath(top / name)
            assert real == real_top or real.startswith(real_top + "/")


def entry(kind: EntryKind, path: bytes, **more: object) -> TreeEntry:
    return TreeEntry(kind, b"/src/" + path, path, **more)  # type: ignore[arg-type]


def test_a_plan() -> None:
    growing = Growing([b"/src/top", b"/src/file"])
    growing.add(entry(EntryKind.FOLDER, b"top"), 0)
    growing.add(entry(EntryKind.FILE, b"top/a", size=3), 1)
    growing.add(entry(EntryKind.LINK, b"top/in", target=b"a"), 1)
    growing.add(entry(EntryKind.LINK, b"top/out", target=b"../a"), 1)
    growing.leave_out()
    growing.add(entry(EntryKind.FILE, b"file", size=4), 0)
    plan = growing.plan()
    assert (plan.tops, plan.total, plan.files, plan.left_out, len(plan.entries)) == ((b"top", b"file"), 7, 2, 2, 4)


def test_too_many_too_deep_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FilesError, match="not a file or a folder"):
        Growing([b"/src/fifo"]).plan()
    with pytest.raises(FilesError, match="nested folders"):
        Growing([b"/src/a"]).add(entry(EntryKind.FILE, b"a"), tree.DEPTH_MAX + 1)
    for long in ({"source": b"/" * 5000}, {"path": b"a" * 5000}, {"target": b"a" * 5000}):
        with pytest.raises(FilesError, match="more than 4096 bytes"):
            Growing([b"/src/a"]).add(replace(entry(EntryKind.LINK, b"a", target=b"x"), **long), 1)
    with pytest.raises(FilesError, match="more than 4096 bytes"):
        Growing([b"/src/a"]).refused(b"/" * 5000, FilesError("no"))
    listed = NameCount()
    with pytest.raises(FilesError, match="more than 1024 bytes"):
        listed.take(b"a" * 1025)
    monkeypatch.setattr(tree, "PATHS_MAX_BYTES", 20)
    growing = Growing([b"/src/a"])
    growing.add(entry(EntryKind.FILE, b"a"), 0)
    with pytest.raises(FilesError, match="nested folders"):
        growing.add(entry(EntryKind.FILE, b"bcdefghijklmno"), 0)
    monkeypatch.undo()
    monkeypatch.setattr(tree, "ENTRIES_MAX", 1)
    growing = Growing([b"/src/a"])
    growing.add(entry(EntryKind.FILE, b"a"), 0)
    with pytest.raises(FilesError, match="more than 1 files"):
        growing.add(entry(EntryKind.FILE, b"b"), 0)
    with pytest.raises(FilesError, match="more than 1 files"):
        growing.refused(b"/src/b", FilesError("no"))


def test_what_cannot_be_read_is_named_unless_it_is_all() -> None:
    growing = Growing([b"/src/top"])
    growing.refused(b"/src/top/a", FilesError("the reason"))
    with pytest.raises(FilesError, match="the reason"):
        growing.plan()
    growing.add(entry(EntryKind.FILE, b"top/b", size=2), 1)
    growing.add(entry(EntryKind.FILE, b"top/c", size=3), 1)
    plan = growing.plan().without((b"/src/top/c",))
    assert (plan.total, plan.files, plan.unread) == (2, 1, (b"/src/top/a", b"/src/top/c"))


def test_names_for_people() -> None:
    assert shown(b"/a/two words") == "two words"
    assert shown(b"/a/folder/") == "folder" and shown(b"/") == "/"
    assert shown(b"/a/li\nne\x1b[31m") == "li\ufffdne\ufffd[31m"
    assert shown(b"/\xff") == "\ufffd"
    assert len(shown(b"/" + b"x" * 300)) == SHOWN
