from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.clipboard.compound_text import UnknownCharset, decoded


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\tb\r\n", "a\tb\r\n"),
        ("grüße ÿ".encode("latin-1"), "grüße ÿ"),
        (b"\x1b-B" + "Łódź".encode("iso8859-2"), "Łódź"),
        (b"\x1b-F" + "γειά".encode("iso8859-7") + b"\x1b-A\xfc", "γειάü"),
        (b"\x1b-b" + "€".encode("iso8859-15"), "€"),
        (b'\x1b$(B$"$$\x1b(B ok', "あい ok"),
        (b"\x1b$)B" + "日本".encode("euc_jp"), "日本"),
        (b"\x1b$)A" + "中文".encode("gb2312"), "中文"),
        (b"\x1b$(C" + bytes(byte & 0x7F for byte in "한글".encode("euc_kr")) + b"\x1b(Bx", "한글x"),
        (b"\x1b$(D" + bytes(byte & 0x7F for byte in "丂".encode("euc_jp")[1:]), "丂"),
        (b"\x1b)I\xb1\xb2 \x1b(J\\~", "ｱｲ ¥‾"),
        (b"\x1b%G" + "π😀".encode() + b"\x1b%@\xfc", "π😀ü"),
        (b"\x1b%/1\x80\x8fkoi8-r\x02" + "привет..".encode("koi8-r") + b"rest", "привет..rest"),
        (b"\x9b1]\xe1\x9b]b", "áb"),
        (b"", ""),
        (b"\x1b%G\xff", "\ufffd"),
    ],
)
def test_what_is_read(data: bytes, text: str) -> None:
    assert decoded(data) == text


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"ok\x1b-z\xa1", "set ESC - z"),
        (b"\x1b$(G!!", r"set ESC \$ \( G"),
        (b"\x1b%/1\x80\x85evil\x02x", "encoding evil"),
        (b"a\0b", "the bytes 00 62"),
        (b"\x1b", "the bytes 1b"),
    ],
)
def test_what_is_not_read_is_named(data: bytes, named: str) -> None:
    with pytest.raises(UnknownCharset, match=named):
        decoded(data)


@given(st.lists(st.binary(max_size=6) | st.sampled_from([b"\x1b%G", b"\x1b%/1\x80\x84a\x02", b"\x1b$(B", b"\x1b-L"])))
def test_any_bytes_are_read_or_refused(parts: list[bytes]) -> None:
    try:
        decoded(b"".join(parts)).encode()
    except UnknownCharset as refusal:
        assert refusal.charset.isprintable()


def test_it_takes_linear_time() -> None:
    for unit in (b"\x1b-L\xd0", b"\x1b%G\x1b", b"\x1b%Gx\x1b%@", b'\x1b$(B$"', b"\x9b"):
        data, took = unit * (2_000_000 // len(unit)), time.monotonic()
        with contextlib.suppress(UnknownCharset):
            decoded(data)
        assert time.monotonic() - took < 30, unit
