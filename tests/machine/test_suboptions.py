from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.machine.suboptions import SubOptions, escape

# Mostly the characters that mean something.
texts = st.text(alphabet=st.sampled_from(",=+-ab0 /.\n"), max_size=30) | st.text(
    alphabet=st.characters(blacklist_characters="\0"), max_size=30
)
keys = st.text(alphabet="abcdefgh-+._", min_size=1, max_size=8)
values = st.none() | texts


@given(texts)
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert SubOptions.parse(text).render() == text


@given(st.none() | keys, st.lists(st.tuples(keys, values), max_size=6))
def test_any_structure_comes_back_as_it_was(head: str | None, pairs: list[tuple[str, str | None]]) -> None:
    if head is None and (not pairs or pairs[0][1] is None):
        return  # reads as a head, by QEMU's rule and ours
    whole = SubOptions(head, tuple(pairs))
    assert SubOptions.parse(whole.render()) == whole


@given(keys, texts, texts)
def test_setting_a_value(key: str, text: str, value: str) -> None:
    changed = SubOptions.parse(text).with_value(key, value)
    assert changed.get(key) == value
    assert changed.all(key) == (value,)
    assert changed.without(key) == SubOptions.parse(text).without(key)


@pytest.mark.parametrize(
    ("text", "head", "pairs"),
    [
        ("", "", ()),
        ("q35", "q35", ()),
        ("4,cores=2,sockets=1", "4", (("cores", "2"), ("sockets", "1"))),
        ("if=pflash,readonly", None, (("if", "pflash"), ("readonly", None))),
        ("Penryn,+avx,check", "Penryn", (("+avx", None), ("check", None))),
        ("file=/a,,b,format=raw", None, (("file", "/a,b"), ("format", "raw"))),
        ("isa-applesmc,osk=a=b", "isa-applesmc", (("osk", "a=b"),)),
        ("a,,,b", "a,", (("b", None),)),
        ("user,id=n,hostfwd=x,hostfwd=y", "user", (("id", "n"), ("hostfwd", "x"), ("hostfwd", "y"))),
    ],
)
def test_qemus_language(text: str, head: str | None, pairs: tuple[tuple[str, str | None], ...]) -> None:
    assert SubOptions.parse(text) == SubOptions(head, pairs)


def test_questions() -> None:
    sub = SubOptions.parse("x,a=1,a=2,readonly,snapshot=on,b=off")
    assert sub.get("a") == "2"
    assert sub.all("a") == ("1", "2")
    assert sub.get("readonly") is sub.get("none") is None
    assert sub.has("readonly")
    assert not sub.has("none")
    assert sub.is_on("readonly")
    assert sub.is_on("snapshot")
    assert not sub.is_on("b")
    assert not sub.is_on("none")


def test_edits_keep_places() -> None:
    sub = SubOptions.parse("x,a=1,b=2,a=3,c")
    assert sub.with_value("a", "9").render() == "x,a=9,b=2,c"
    assert sub.with_value("d", "9").render() == "x,a=1,b=2,a=3,c,d=9"
    assert sub.with_default("b", "9").render() == sub.render()
    assert sub.with_default("d", "9").render() == "x,a=1,b=2,a=3,c,d=9"
    assert sub.with_head("y").without("a", "c").render() == "y,b=2"


def test_escape() -> None:
    assert escape("/a,b") == "/a,,b"
