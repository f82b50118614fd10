from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pommel.clipboard.copies import CopyName, broken_off, copy_of, to_prune, told_names, told_paths, told_size
from pommel.sftp.tree import CopyPlan, EntryKind, TreeEntry

COPIES = st.lists(
    st.builds(CopyName, st.integers(0, (1 << 48) - 1), st.integers(0, 10**9)), unique_by=lambda one: one.made_ms
)


@given(COPIES, st.integers(-1000, 10**10))
def test_what_stays_fits_or_is_the_newest(copies: list[CopyName], room: int) -> None:
    going = to_prune([*(copy.name for copy in copies), *(copy.part for copy in copies), ".lock", "other"], room)
    staying = sorted(set(copies) - set(going))
    assert set(going) <= set(copies)
    assert sum(copy.size for copy in staying) <= room or staying == sorted(copies)[-1:]
    assert not going or max(going) < min(staying)
    # Nothing goes that need not.
    if going:
        assert sum(copy.size for copy in [*staying, going[-1]]) > room


@given(COPIES)
def test_a_copy_by_its_name(copies: list[CopyName]) -> None:
    assert [copy_of(copy.name) for copy in copies] == copies
    assert [copy_of(copy.part) for copy in copies] == [None] * len(copies)
    parts = [copy.part for copy in copies]
    assert broken_off([*parts, *(copy.name for copy in copies), ".lock", ".x.part"]) == parts


def test_for_people() -> None:
    one = CopyPlan((b"a",), (TreeEntry(EntryKind.FILE, b"/a", b"a", 1024),))
    assert told_size(one) == "1 file, 1 KiB"
    assert told_size(CopyPlan((), ())) == "0 files, 0 B"
    assert told_paths([b"/a b", b"/c"]) == ["/a b", "/c"]
    assert told_paths([b"/a\n"]) is None and told_paths([b"/\xff"]) is None and told_paths([b"/a"] * 4) is None
    assert told_names([b"/x/a", b"/x/b"]) == ("a", "b")
    assert told_names([b"/%d" % number for number in range(5)]) == ("0", "1", "2", "…")
