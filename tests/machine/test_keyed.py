from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.machine.keyed import Keyed

TEXT = "qcow2,node-name=d,file.driver=file,file.filename=a,,b.img,read-only=on"
JSON = '{"driver":"qcow2","node-name":"d","file":{"driver":"file","filename":"a,b.img"},"read-only":true}'
KEYS = st.sampled_from(["driver", "node-name", "file", "filename", "x", "cache"])
TREES = st.recursive(
    st.one_of(st.text(max_size=5), st.booleans(), st.integers()),
    lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("text", [TEXT, JSON])
def test_both_spellings_say_the_same(text: str) -> None:
    value = Keyed.parse("blockdev", text)
    assert value.get("driver") == "qcow2" and value.get("file.filename") == "a,b.img"
    assert value.is_on("read-only") and value.has_under("file") and not value.has("file")
    assert value.render() == text


def test_edits_in_text() -> None:
    value = Keyed.parse("blockdev", TEXT).with_value("driver", "raw").without("file").with_value("file", "f")
    assert value.render() == "raw,node-name=d,read-only=on,file=f"
    assert Keyed.parse("blockdev", TEXT).without("driver").render().startswith("node-name=d,")


def test_edits_in_json_keep_the_other_keys() -> None:
    value = Keyed.parse("blockdev", JSON).with_value("file.filename", "x").with_value("read-only", "off")
    assert json.loads(value.render()) == {
        "driver": "qcow2", "node-name": "d", "file": {"driver": "file", "filename": "x"}, "read-only": False,
    }  # fmt: skip
    assert Keyed.parse("blockdev", JSON).without("file").with_default("file.driver", "nbd").get("file.driver") == "nbd"


@pytest.mark.parametrize(
    "text",
    [
        '{"file.node-name":"a","file":{"filename":"x"},"id":"d"}',
        '{"file":{"filename":"x"},"file.filename":"z","id":"d"}',
        '{"":{"file":{"filename":"x"}},"id":"d"}',
    ],
)
def test_json_whose_keys_have_dots_of_their_own(text: str) -> None:
    value = Keyed.parse("blockdev", text)
    assert list(value.without("file").pairs()) == [("id", "d")]
    assert value.with_value("file.filename", "y").get("file.filename") == "y"
    assert json.loads(value.without("file").render()) in ({"id": "d"}, {"": {}, "id": "d"})


@pytest.mark.parametrize("text", ["{", "{]", '{"a":', "[1]", "{" * 5000])
def test_damaged_json_has_no_keys(text: str) -> None:
    assert Keyed.parse("device", text).get("driver") in (None, text)


@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=4), KEYS, st.sampled_from(["y", "on"]))
def test_one_key_changes_and_no_other(tree: dict[str, object], key: str, new: str) -> None:
    before = Keyed.parse("blockdev", json.dumps(tree))
    after = before.with_value(key, new)
    assert after.get(key) == new

    def others(value: Keyed) -> list[tuple[str, str | None]]:
        return [pair for pair in value.pairs() if pair[0].split(".")[0] != key]

    assert others(before) == others(after) == others(before.without(key))


@pytest.mark.parametrize("depth", [70, 950, 100_000])
def test_json_that_is_too_deep_has_no_keys(depth: int) -> None:
    value = Keyed.parse("blockdev", '{"driver":"x","l":' + "[" * depth + "1" + "]" * depth + "}")
    assert list(value.pairs()) == [] and value.get("driver") is None


def test_a_path_that_is_no_utf8_stays_as_it_is() -> None:
    text = '{"driver":"file","filename":"/\udcff\\ud800"}'
    assert Keyed.parse("blockdev", text).get("filename") == "/\udcff\ud800"
