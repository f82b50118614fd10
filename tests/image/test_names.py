"""What an image may be called, here and at a registry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import UsageError
from pommel.image.names import ImageName, parse_name, parse_remote

HEX = "0" * 63 + "a"


def test_names_and_tags() -> None:
    assert parse_name("sonoma") == ImageName("sonoma", "latest")
    assert str(parse_name("sonoma:14.8_CI-2")) == "sonoma:14.8_CI-2"


@pytest.mark.parametrize(
    "text", ["", ":", "a:", "A", "-a", ".a", "a/b", "a:b:c", "a:-x", "a b", "a\n", "oci://r/a", "a" * 41]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError):
        parse_name(text)


@pytest.mark.parametrize(
    ("text", "host", "repository", "reference", "local"),
    [
        ("oci://reg.lan/a", "reg.lan", "a", "latest", "a:latest"),
        ("oci://127.0.0.1:5000/macs/sonoma:1", "127.0.0.1:5000", "macs/sonoma", "1", "sonoma:1"),
        ("oci://[::1]:5000/a_b/c-d:x", "[::1]:5000", "a_b/c-d", "x", "c-d:x"),
        (f"oci://Reg.Lan/a@sha256:{HEX}", "reg.lan", "a", f"sha256:{HEX}", "a:000000000000"),
    ],
)
def test_places_at_registries(text: str, host: str, repository: str, reference: str, local: str) -> None:
    found = parse_remote(text)
    assert (found.host, found.repository, found.reference) == (host, repository, reference)
    assert str(found.local_name) == local and parse_remote(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "reg.lan/a", "oci://", "oci://reg.lan", "oci://reg.lan/", "oci:///a", "oci://reg.lan/A", "oci://reg.lan/a//b",
        "oci://reg.lan/../a", "oci://user:pw@reg.lan/a", "oci://reg.lan:0/a", "oci://reg.lan:99999/a", "oci://reg.lan/a:",
        "oci://reg.lan/a@sha256:12", f"oci://reg.lan/a:b@sha256:{HEX}", "oci://reg.lan/a?x=1", "oci://reg.lan/" + "a" * 256,
        "oci://reg lan/a", "oci://reg.lan\n/a",
    ],
)  # fmt: skip
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(UsageError):
        parse_remote(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_name, parse_remote):
        try:
            parse(text)
        except UsageError as refusal:
            assert refusal.hint
