"""Converts compound text, the text of X clients before UTF-8, to Unicode. Band: core, no I/O.

X Consortium Standard, "Compound Text Encoding", version 1.1: ISO 2022, where each half of the byte values selects a
character set, with extended segments in a named encoding, and directions. Supported: the sets of Latin, Greek,
Cyrillic, Arabic, Hebrew and Thai script, those of China (GB 2312), Japan (JIS X 0201, 0208 and 0212) and Korea (KS C
5601), UTF-8, and segments in an encoding of `_SEGMENTS`. Directions are left out, because Unicode's letters have their
own. Other sets are refused with their name. No library does this; Xlib's function depends on the locale.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# From the last byte of the escape sequence (ISO-IR registry) to the encoding with this set in its right half.
_SETS_96 = {
    b"A": "iso8859-1", b"B": "iso8859-2", b"C": "iso8859-3", b"D": "iso8859-4", b"F": "iso8859-7", b"G": "iso8859-6",
    b"H": "iso8859-8", b"L": "iso8859-5", b"M": "iso8859-9", b"T": "iso8859-11", b"V": "iso8859-10",
    b"Y": "iso8859-13", b"_": "iso8859-14", b"b": "iso8859-15", b"f": "iso8859-16",
}  # fmt: skip
# Sets with two bytes per character, in the right half of an encoding: the prefix of each character, and the encoding.
_SETS_94N = {b"A": (b"", "gb2312"), b"B": (b"", "euc_jp"), b"C": (b"", "euc_kr"), b"D": (b"\x8f", "euc_jp")}
_SEGMENTS = frozenset(
    (*_SETS_96.values(), "koi8-r", "koi8-u", "big5", "gbk", "gb18030", "shift_jis", "euc-jp", "euc-kr", "utf-8")
)

_PART = re.compile(
    rb"""(?P<gl>[\x20-\x7e]+) | (?P<gr>[\xa0-\xff]+) | (?P<plain>[\t\n\r]+)
       | \x1b%G (?P<utf8>[^\x1b]*(?:\x1b(?!%@)[^\x1b]*)*) (?:\x1b%@|\Z)
       | \x1b%/[0-4] (?P<size>[\x80-\xff]{2})
       | \x1b\(  (?P<gl94>[BJI]) | \x1b\) (?P<gr94>[BJI]) | \x1b- (?P<gr96>[\x40-\x7e])
       | \x1b\$\(? (?P<gl94n>[\x40-\x7e]) | \x1b\$\) (?P<gr94n>[\x40-\x7e])
       | (?P<none>\x9b[\x30-\x3f]*\] | \x1b\#[\x20-\x2f][01])""",
    re.VERBOSE,
)
_NAME_SHOWN = 30
_Reads = Callable[[bytes], str]


class UnknownCharset(Exception):
    """Compound text has characters of an unsupported set; `charset` is its name."""

    def __init__(self, charset: str) -> None:
        super().__init__(charset)
        self.charset = charset


def decoded(data: bytes) -> str:
    """Decode compound text, in linear time. Invalid bytes become U+FFFD.

    Raises:
        UnknownCharset: it has characters of an unsupported set.
    """
    left, right = _read_94(b"B"), _read_96(b"A")
    pieces: list[str] = []
    at = 0
    while at < len(data):
        part = _PART.match(data, at)
        if part is None:
            raise UnknownCharset(f"compound text with the bytes {data[at : at + 4].hex(' ')}")
        at, kind, told = part.end(), part.lastgroup or "", part[part.lastgroup or 0]
        if kind == "gl":
            pieces.append(left(told))
        elif kind == "gr":
            pieces.append(right(told))
        elif kind == "plain":
            pieces.append(told.decode("ascii"))
        elif kind == "utf8":
            pieces.append(told.decode(errors="replace"))
        elif kind == "size":
            end = at + (told[0] & 0x7F) * 128 + (told[1] & 0x7F)
            pieces.append(_segment(data[at:end]))
            at = end
        elif kind.startswith("gl"):
            left = _set(kind[2:], told)
        elif kind.startswith("gr"):
            right = _set(kind[2:], told)
    return "".join(pieces)


def _set(kind: str, final: bytes) -> _Reads:
    return {"94": _read_94, "96": _read_96, "94n": _read_94n}[kind](final)


def _read_94(final: bytes) -> _Reads:
    if final == b"I":  # katakana, in the right half of Shift JIS
        return lambda run: _high(run).decode("shift_jis", errors="replace")
    roman = {ord("\\"): "¥", ord("~"): "‾"} if final == b"J" else {}
    return lambda run: _low(run).decode("ascii").translate(roman)


def _read_96(final: bytes) -> _Reads:
    if final not in _SETS_96:
        raise UnknownCharset(f"compound text's set ESC - {final.decode()}")
    return lambda run: _high(run).decode(_SETS_96[final], errors="replace")


def _read_94n(final: bytes) -> _Reads:
    if final not in _SETS_94N:
        raise UnknownCharset(f"compound text's set ESC $ ( {final.decode()}")
    before, encoding = _SETS_94N[final]

    def read(run: bytes) -> str:
        pairs = _high(run)
        if before:
            pairs = b"".join(before + pairs[at : at + 2] for at in range(0, len(pairs), 2))
        return pairs.decode(encoding, errors="replace")

    return read


def _segment(data: bytes) -> str:
    """An extended segment: the encoding's name, STX, the text."""
    name, _, text = data.partition(b"\x02")
    told = name.decode("ascii", errors="replace").lower()
    encoding = next((known for known in (told, told.removesuffix("-0")) if known in _SEGMENTS), None)
    if encoding is None:
        shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in told[:_NAME_SHOWN])
        raise UnknownCharset(f"compound text's encoding {shown}")
    return text.decode(encoding, errors="replace")


def _high(run: bytes) -> bytes:
    return run.translate(_UP)


def _low(run: bytes) -> bytes:
    return run.translate(_DOWN)


_UP = bytes(byte | 0x80 for byte in range(256))
_DOWN = bytes(byte & 0x7F for byte in range(256))
