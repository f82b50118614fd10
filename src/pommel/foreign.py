"""Parses JSON from untrusted sources into values that are safe to use later. Band: core, no I/O.

json.loads takes more than RFC 8259 promises to interoperate: half of a surrogate pair, which no encoder takes; integers
that no float holds; and lists as deep as the stack of the moment, so that writing them again from a deeper place fails.
NaN and Infinity are accepted, as json.loads does. The caller must check the meaning of the values.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEPTH_MAX = 64
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LONGEST_INTEGER = 20  # digits and a sign: 64 bits have no more


def printable(text: str) -> str:
    """The text without control characters except line ends, so that it is safe for a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)


def parse_json(message: str | bytes) -> Any:
    """Parse JSON.

    Halves of surrogate pairs become U+FFFD; integers of more than 64 bits become floats, as in JavaScript.

    Raises:
        ValueError: it is not JSON, or is more than `DEPTH_MAX` levels deep.
    """
    text = message if isinstance(message, str) else message.decode("utf-8-sig")
    text.encode()  # fails if the text itself has half of a pair, from a caller's own decoding
    try:
        found = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if text.count("[") + text.count("{") > DEPTH_MAX:
        check_depth(found)
    return _whole(found) if _SURROGATE.search(text) else found


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def check_depth(found: Any) -> None:
    """Check that a value of JSON is at most `DEPTH_MAX` levels deep.

    Raises:
        ValueError: it is deeper.
    """
    level = [found]
    for _ in range(DEPTH_MAX):
        level = [inner for value in level for inner in _inside(value)]
        if not level:
            return
    raise ValueError(f"it is more than {DEPTH_MAX} levels deep")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [inner for inner in value.values() if isinstance(inner, dict | list)]
    return [inner for inner in value if isinstance(inner, dict | list)] if isinstance(value, list) else []


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(inner) for key, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value
