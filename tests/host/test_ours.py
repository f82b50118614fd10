"""The mark in a text: what is ours, what is older, what was edited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.host.ours import BLANK, MARK, sign, state

LINES = st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=20), max_size=4).map("\n".join)


def marked(text: str, after: str = "") -> str:
    return f"{text}\n# {MARK}: {BLANK}\n{after}"


@given(LINES, LINES, st.data())
def test_a_signed_text_is_ours_until_anything_in_it_changes(before: str, after: str, data: st.DataObject) -> None:
    text = sign(marked(before, after))
    assert BLANK not in text
    assert state(text, text) == "placed"
    assert state(text, "newer") == "outdated"
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(exclude_categories=("Cs",), exclude_characters=text[at]))
    assert state(text[:at] + letter + text[at + 1 :], "newer") in ("edited", "foreign")
    assert state(text + "\n", "newer") == "edited"


def test_no_file_and_no_mark() -> None:
    assert state(None, "x") == "missing"
    assert state("", "x") == state(f"# {MARK}: 0123", "x") == "foreign"


@pytest.mark.parametrize("text", ["", f"{MARK}: 0", marked("") * 2, sign(marked("a"))])
def test_what_has_no_one_place_for_the_mark_is_not_signed(text: str) -> None:
    with pytest.raises(ValueError, match="one line with"):
        sign(text)


def test_bytes_that_are_no_text_can_be_signed() -> None:
    text = marked("/h\udcff/pommel")
    assert state(sign(text), "newer") == "outdated"
