"""Property lists: what is wrong in one is said with its line or its key, and what is read can be written again."""

from __future__ import annotations

import copy
import plistlib
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pommel.errors import UpstreamError
from pommel.opencore import plist

HEAD = b"<?xml version='1.0'?>\n<plist version='1.0'>\n<dict>\n<key>A</key>\n"
TAIL = b"\n</dict></plist>"


@pytest.mark.parametrize(
    ("middle", "said"),
    [
        (b"<string>a</strin>", "mismatched tag: line 5, column 11"),
        (b"<string>&</string>", "line 5, column 9"),
        (b"<key>B</key>", "line 5"),
        (b"<integer>12a</integer>", "line 5: <integer>12a</integer> is not a number (after the key A)"),
        (b"\n<real>one</real>", "line 6: <real>one</real> is not a number"),
        (b"<data>AAA</data>", "line 5: <data>AAA</data> is not base64"),
        (b"<date>today</date>", "line 5: <date>today</date> is not a date"),
        (b"<data>***REMOVED***</data>", "line 5: <data>***REMOVED***</data> is not base64 (after the key A)"),
        (b"<true/></dict>\n<key>B</key><dict>", "line 6: a key is outside of all dictionaries"),
        (b"<integer>99999999999999999999999</integer>", "A is a number of more than 64 bits"),
    ],
)
def test_what_is_wrong_has_its_line_or_key(middle: bytes, said: str) -> None:
    with pytest.raises(UpstreamError, match=r"^config\.plist is not a property list") as refusal:
        plist.read(HEAD + middle + TAIL, "config.plist")
    assert said in refusal.value.message


@pytest.mark.parametrize("before", [b"  ", b"\n", b"<!-- from <elsewhere> -->\n<!-- two\nlines --> "])
def test_blanks_and_comments_before_the_declaration_do_not_matter(before: bytes) -> None:
    assert plist.read(before + HEAD + b"<true/>" + TAIL, "config.plist") == {"A": True}
    line = 5 + before.count(b"\n")
    with pytest.raises(UpstreamError, match=f"line {line}: <integer>x</integer>"):
        plist.read(before + HEAD + b"<integer>x</integer>" + TAIL, "config.plist")


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"A": [{"B": plistlib.UID(3)}]}, "A/0/B is a UID"),
        ({"A": ["b", "\x01"]}, "A/1 has a character that XML does not allow"),
        ({"A": {"\x02": 1}}, r"A has the key '\x02', which is not a text"),
    ],
)
def test_what_only_a_binary_list_can_hold_is_named_by_its_key(odd: dict[str, Any], said: str) -> None:
    with pytest.raises(UpstreamError) as refusal:
        plist.read(plistlib.dumps(odd, fmt=plistlib.FMT_BINARY), "config.plist")
    assert said in refusal.value.message


def test_too_deep_and_endless_ones_are_refused() -> None:
    deep = b"<plist>" + b"<array>" * 5000 + b"</array>" * 5000 + b"</plist>"
    with pytest.raises(UpstreamError, match="more than 64 levels deep"):
        plist.read(deep, "config.plist")
    many: list[Any] = []
    for _ in range(60):  # each level names the one below it three times: 3^60 values from 60 objects
        many = [many] * 3
    with pytest.raises(UpstreamError, match="more than 500000 values"):
        plist.read(plistlib.dumps({"A": many}, fmt=plistlib.FMT_BINARY), "config.plist")


def test_a_note_of_git_lfs_is_told_from_a_broken_list() -> None:
    with pytest.raises(UpstreamError, match="git-lfs pointer") as refusal:
        plist.read(b"version https://git-lfs.github.com/spec/v1\n", "config.plist")
    assert "git lfs pull" in (refusal.value.hint or "")


@given(
    st.binary(max_size=120).map(lambda tail: b"bplist00" + tail) | st.binary(max_size=80).map(lambda b: HEAD + b + TAIL)
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_or_can_be_copied_and_written(data: bytes) -> None:
    try:
        found = plist.read(data, "config.plist")
    except UpstreamError:
        return
    plistlib.dumps(copy.deepcopy(found), sort_keys=False)


def _bomb() -> bytes:
    """Entities of entities: 2 kB that stand for a gigabyte."""
    rows = [b"<!ENTITY a0 'aaaaaaaaaa'>"]
    rows += [b"<!ENTITY a%d '%s'>" % (n + 1, b"&a%d;" % n * 10) for n in range(8)]
    return b"<!DOCTYPE p [" + b"".join(rows) + b"]><plist><dict><key>a</key><string>&a8;</string></dict></plist>"


@pytest.mark.parametrize(
    "data",
    [
        _bomb(),
        HEAD + b"<data>" + b"\n" * 1_000_000 + b"*</data>" + TAIL + b"x",
        HEAD + b"<string>" + b"a\n" * 500_000 + b"</string><integer>x</integer>" + TAIL,
    ],
    ids=["entities", "lines of data", "lines of text"],
)
def test_what_is_wrong_is_found_in_a_time_that_grows_with_the_length_only(data: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(UpstreamError):
        plist.read(data, "config.plist")
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("key", [b"\x00", b"\x08", b"\x10\x07", b"\x41k"])
def test_a_key_that_is_no_text_is_refused(key: bytes) -> None:
    told = plistlib.dumps({"Misc": {"k": 1}}, fmt=plistlib.FMT_BINARY)
    with pytest.raises(UpstreamError, match=r"has the key .*, which is not a text"):
        plist.read(told.replace(b"\x51k", key.ljust(2, b"\x00")), "config.plist")


def test_a_list_of_one_value_many_times_takes_little_memory() -> None:
    data = plistlib.dumps({"Misc": [0] * 2_000_000}, fmt=plistlib.FMT_BINARY)
    read = plistlib.loads(data)
    tracemalloc.start()
    with pytest.raises(UpstreamError, match="more than 500000 values"):
        plist._check(read, "config.plist")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20


@pytest.mark.parametrize("before", [b"<!---->" * 5000, b" \n" * 5000, b"<!-- -->\n" * 3000 + b"<!--", b"<!--" * 5000])
def test_comments_before_everything_take_no_time(before: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(UpstreamError):
        plist.read(before + b"x", "config.plist")
    assert time.process_time() - begun < 10
