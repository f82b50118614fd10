"""Parses a property list; an error has its place: a line, or a key. Band: core, no I/O.

plistlib reads; this says what it does not. Whatever comes back can be copied, changed and written as XML again.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import plistlib
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from xml.parsers import expat

from pommel.errors import UpstreamError

_DEPTH_MAX = 64  # OpenCore's own configurations have seven levels
_VALUES_MAX = 500_000  # a binary list may name one value many times, and be endless once it is written out
_BINARY = b"bplist00"
_DECLARATION = re.compile(rb"((?>\s|<!--.*?-->)++)(<\?xml [^>]*\?>)", re.DOTALL)
_OUTSIDE: dict[type[Exception], str] = {IndexError: "a key is outside of all dictionaries"}  # as plistlib meets it
_LFS = b"version https://git-lfs"
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_INTEGERS = range(-(1 << 63), 1 << 64)  # what plistlib writes
_KINDS = (
    (bool, "true or false"),  # before int, of which it is one
    (str, "a text"),
    (bytes, "data"),
    (int, "a number"),
    (float, "a number"),
    (dict, "a dictionary"),
    (list, "a list"),
    (datetime, "a date"),
)


def read(data: bytes, where: str) -> Any:
    """Parse a property list; `where` is what to call it.

    Raises:
        UpstreamError: it is none, or holds what cannot be written again; the message has the line or the key.
    """
    if data.startswith(_LFS):
        raise UpstreamError(
            f"{where} is a git-lfs pointer, not the property list itself", hint="git lfs pull, in its folder"
        )
    try:
        found = _loads(data)
    except Exception as failure:  # plistlib documents none; it raises whatever its parsers do
        reason = _wrong_value(data) or _OUTSIDE.get(type(failure)) or str(failure) or type(failure).__name__
        line = "" if "line " in reason or data.startswith(_BINARY) else f"line {_line_of(data, failure)}: "
        raise UpstreamError(f"{where} is not a property list: {line}{reason}") from failure
    _check(found, where)
    return found


def _loads(data: bytes) -> Any:
    if data.startswith(_BINARY):
        return plistlib.loads(data)
    return plistlib.loads(_as_xml(data), fmt=plistlib.FMT_XML)


def _as_xml(data: bytes) -> bytes:
    """The same bytes for an XML parser: OpenCore takes blanks and comments before the declaration, XML does not."""
    declared = _DECLARATION.match(data)
    if declared is None:
        return data
    return declared[1] + b" " * len(declared[2]) + data[declared.end() :]


def _line_of(data: bytes, failure: Exception) -> int:
    """The line at which `failure` comes: the fewest lines of `data` that make plistlib fail in the same way."""
    lines = data.splitlines(keepends=True)

    def fails_so(count: int) -> bool:
        try:
            _loads(b"".join(lines[:count]))
        except Exception as found:  # as above
            return type(found) is type(failure) and str(found) == str(failure)
        return False

    return bisect.bisect_left(range(1, len(lines)), True, key=fails_so) + 1


def kind(value: Any) -> str:
    """The type of a value, in words."""
    return next((name for known, name in _KINDS if isinstance(value, known)), f"a {type(value).__name__}")


def _check(found: Any, where: str) -> None:
    waiting: list[tuple[str, int, Any]] = [("", 0, found)]
    seen = 0
    while waiting:
        place, depth, value = waiting.pop()
        seen += 1
        why = _why_unusable(value)
        if depth > _DEPTH_MAX:
            why = f"is more than {_DEPTH_MAX} levels deep"
        elif seen > _VALUES_MAX:
            why = f"is one of more than {_VALUES_MAX} values"
        if why is not None:
            raise UpstreamError(f"{where} is not a property list that OpenCore can read: {place or 'all of it'} {why}")
        inside = itertools.islice(_inside(value), _VALUES_MAX)  # of a list that is longer the last is one too many
        waiting += [(f"{place}/{key}".removeprefix("/"), depth + 1, inner) for key, inner in inside]


def _shown(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= 60 else text[:60] + "…"


def _why_unusable(value: Any) -> str | None:
    if isinstance(value, dict):
        odd = [key for key in value if not isinstance(key, str) or _NO_XML.search(key)]
        return f"has the key {_shown(odd[0])}, which is not a text" if odd else None
    if isinstance(value, str):
        return "has a character that XML does not allow" if _NO_XML.search(value) else None
    if isinstance(value, int) and value not in _INTEGERS:
        return "is a number of more than 64 bits"
    return None if isinstance(value, tuple(known for known, _ in _KINDS)) else f"is a {type(value).__name__}"


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from ((str(index), inner) for index, inner in enumerate(value))


_CHECKS: dict[str, tuple[Callable[[str], object], str]] = {
    "integer": (lambda text: int(text, 16 if text[:2].lower() == "0x" else 10), "a number"),
    "real": (float, "a number"),
    "data": (lambda text: plistlib.loads(b"<plist><data>" + text.encode() + b"</data></plist>"), "base64"),
    "date": (lambda text: plistlib.loads(b"<plist><date>" + text.encode() + b"</date></plist>"), "a date"),
}


def _wrong_value(data: bytes) -> str | None:
    """Line and key of the first value that is not what its tag says; plistlib tells neither."""
    parser, found, parts, key = expat.ParserCreate(), list[str](), list[str](), ""

    def start(_: str, __: object) -> None:
        parts.clear()

    def end(tag: str) -> None:
        nonlocal key
        text = "".join(parts).strip()
        if tag == "key":
            key = text[:60]
        elif not found and not _is_a(tag, text):
            line, after = parser.CurrentLineNumber, f" (after the key {key})" if key else ""
            found.append(f"line {line}: <{tag}>{text[:40]}</{tag}> is not {_CHECKS[tag][1]}{after}")

    def entity(*_: object) -> None:
        raise ValueError("plistlib refuses them, because a few can expand to gigabytes")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, parts.append
    parser.EntityDeclHandler = entity
    with contextlib.suppress(Exception):  # plistlib has met it too, and expat's own message has line and column
        parser.Parse(_as_xml(data), True)
    return found[0] if found else None


def _is_a(tag: str, text: str) -> bool:
    if tag not in _CHECKS:
        return True
    try:
        _CHECKS[tag][0](text)
    except Exception:  # whatever plistlib raises
        return False
    return True
