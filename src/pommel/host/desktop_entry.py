"""Desktop entries as text, by the Desktop Entry Specification 1.5. Band: core, no I/O.

It quotes the values and checks the result; `desktop` decides which entries Pommel has, and where.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pommel.errors import UsageError

_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}  # section "Possible value types"
_UNESCAPES = {escape[1]: letter for letter, escape in _ESCAPES.items()} | {"s": " "}
_ESCAPED = re.compile(r"\\(.)")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+\Z")  # no reserved character of section "The Exec key"
_IN_QUOTES = re.compile(r'(["`$\\])')
_GROUP = re.compile(r"\[([^\[\]\x00-\x1f\x7f]+)\]\Z")
_PAIR = re.compile(r"([A-Za-z0-9-]+(?:\[[^\]]+\])?) *= *(.*)\Z")
_FIELD_CODE = re.compile(r"%(.?)")
_MAIN = "Desktop Entry"


def exec_line(argv: Sequence[str]) -> str:
    """The value of an Exec key, before escaping, that runs exactly `argv`.

    Raises:
        UsageError: the format cannot express it: no program, a `=` in the program's path, a control character.
    """
    if not argv or not argv[0] or "=" in argv[0]:
        raise UsageError(f"a desktop entry cannot start {argv[0] if argv else 'nothing'!r}: its path has a =")
    for word in argv:
        if any(ord(letter) < 32 or ord(letter) == 127 or 0xD800 <= ord(letter) <= 0xDFFF for letter in word):
            raise UsageError(f"a desktop entry cannot hold {word!r}: it has a control character, or is not text")
    return " ".join(_quoted(word) for word in argv)


def _quoted(word: str) -> str:
    literal = word.replace("%", "%%")
    return literal if _PLAIN.match(literal) else '"' + _IN_QUOTES.sub(r"\\\1", literal) + '"'


def render(groups: Mapping[str, Mapping[str, str]]) -> str:
    """The entry's text; `groups` map a group's name to its keys and their values, not yet escaped."""
    blocks = []
    for group, pairs in groups.items():
        lines = [f"[{group}]", *(f"{key}={escape(value)}" for key, value in pairs.items())]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def escape(value: str) -> str:
    """A value of type string or localestring in the form of the file."""
    text = "".join(_ESCAPES.get(letter, letter) for letter in value)
    return "\\s" + text[1:] if text.startswith(" ") else text


def complaints(text: str) -> list[str]:
    """What is wrong with an entry's text, in words; a part of what desktop-file-validate finds."""
    groups, found = _parse(text)
    main = groups.get(_MAIN, {})
    if next(iter(groups), None) != _MAIN:
        found.append(f"the first group is not [{_MAIN}]")
    found += [f"[{_MAIN}] has no {key}" for key in ("Type", "Name", "Exec") if not main.get(key)]
    actions = [name for name in main.get("Actions", "").split(";") if name]
    for name in actions:
        action = groups.get(f"Desktop Action {name}", {})
        found += [f"the action {name} has no {key}" for key in ("Name", "Exec") if not action.get(key)]
    for group, pairs in groups.items():
        found += _wrong_in_exec(group, pairs.get("Exec", ""))
        if group.startswith("Desktop Action ") and group.removeprefix("Desktop Action ") not in actions:
            found.append(f"[{group}] is not an action that Actions names")
    return found


def _parse(text: str) -> tuple[dict[str, dict[str, str]], list[str]]:
    groups: dict[str, dict[str, str]] = {}
    found: list[str] = []
    pairs: dict[str, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if group := _GROUP.match(line):
            if group[1] in groups:
                found.append(f"line {number}: the group [{group[1]}] is there twice")
            pairs = groups.setdefault(group[1], {})
        elif pairs is None or not (pair := _PAIR.match(line)) or re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line):
            found.append(f"line {number} is neither a group nor a key and its value: {line!r}")
        elif pair[1] in pairs:
            found.append(f"line {number}: the key {pair[1]} is there twice")
        else:
            pairs[pair[1]] = _ESCAPED.sub(lambda found: _UNESCAPES.get(found[1], found[1]), pair[2])
    return groups, found


def _wrong_in_exec(group: str, value: str) -> list[str]:
    codes = _FIELD_CODE.findall(value)
    found = [f"Exec of [{group}] has the unknown field code %{code}" for code in codes if code not in set("%fFuUick")]
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", value)
    if re.search(r'["\'><~|&;$*?#()`\\]', bare):
        found.append(f"Exec of [{group}] has a reserved character that is not quoted")
    return found
