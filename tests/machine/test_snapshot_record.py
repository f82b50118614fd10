"""Names of snapshots, and their records."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import UsageError
from pommel.machine.snapshot_record import SLEEP_TAG, Snapshot, automatic_tag, check_tag, parse, render

KEPT = Snapshot("t", "2026-01-02T03:04:05.000+00:00", ("a.img", "b.qcow2"), True, False, 7, "why not", ("boot",))


@pytest.mark.parametrize("tag", ["a", "before", "2026-01-02", "v1.0_rc", "A" * 64, "1a"])
def test_names_that_can_be(tag: str) -> None:
    assert check_tag(tag) == tag


@pytest.mark.parametrize(
    "tag", ["", "0", "123", "-a", ".a", "a/b", "a b", "ä", "A" * 65, "a\n", "before-load", SLEEP_TAG]
)
def test_names_that_cannot(tag: str) -> None:
    with pytest.raises(UsageError):
        check_tag(tag)


def test_our_own_names() -> None:
    assert automatic_tag(set()) == "before-load-1"
    assert automatic_tag({"before-load-1", "before-load-3"}) == "before-load-2"


texts = st.text(max_size=9)


@given(
    st.builds(Snapshot, texts, texts, st.lists(texts).map(tuple), st.booleans(), st.booleans(), st.integers(), texts)
)
def test_there_and_back(snapshot: Snapshot) -> None:
    assert parse(render(snapshot)) == snapshot


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"ram": 1},
        {"disks": "a.img"},
        {"disks": [1]},
        {"ram_bytes": "7"},
        {"ram_bytes": True},
        {"tag": None},
        {"extra": 1},
    ],
)
def test_a_record_that_is_not_ours(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"format|is |missing or unknown"):
        parse(json.dumps(json.loads(render(KEPT)) | change))


@pytest.mark.parametrize("key", ["format", "tag", "disks", "note"])
def test_a_record_that_lacks_something(key: str) -> None:
    found = json.loads(render(KEPT))
    del found[key]
    with pytest.raises(ValueError, match=r"format|missing"):
        parse(json.dumps(found))


@given(st.text() | st.from_type(dict).map(str) | st.just("[" * 100_000))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|format"):
        parse(text)
