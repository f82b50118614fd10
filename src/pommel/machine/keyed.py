"""Parses values that QEMU also takes as JSON: -blockdev, -device, -netdev, -object. Band: core, no I/O.

`driver=qcow2,file.driver=file` and `{"driver":"qcow2","file":{"driver":"file"}}` mean the same; a key is written with
dots in both cases. An edit leaves every other key unchanged, with its spelling and its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pommel.foreign import check_depth
from pommel.machine.suboptions import SubOptions

IMPLIED = {"blockdev": "driver", "device": "driver", "object": "qom-type", "netdev": "type"}
_SWITCH = {True: "on", False: "off"}


@dataclass(frozen=True, slots=True)
class Keyed:
    """Options by key. `implied` is the key of the first item if that is written without a key."""

    implied: str | None
    plain: SubOptions | None
    tree: dict[str, Any] | None = None
    _last: dict[str, str | None] = field(init=False, repr=False, compare=False)  # by key, the effective value

    def __post_init__(self) -> None:
        object.__setattr__(self, "_last", dict(self.pairs()))

    @classmethod
    def parse(cls, name: str, text: str) -> Keyed:
        """Parse the value of option `name`. Damaged JSON is a value without keys."""
        return _parsed(name, text)

    def pairs(self) -> Iterator[tuple[str, str | None]]:
        """Every key with its value as text, in order; lists are numbered as QEMU numbers them (`key.0`)."""
        if self.plain is not None:
            if self.plain.head is not None:
                yield self.implied or "", self.plain.head
            yield from self.plain.pairs
        else:
            yield from _flat("", self.tree or {})

    def get(self, key: str) -> str | None:
        """The value of `key` as text; the last one counts."""
        return self._last.get(key)

    def has(self, *keys: str) -> bool:
        """Whether one of `keys` exists."""
        return any(key in self._last for key in keys)

    def has_under(self, key: str) -> bool:
        """Whether there is a key below `key`: `file.driver` is below `file`."""
        return any(name.startswith(f"{key}.") for name in self._last)

    def is_on(self, *keys: str) -> bool:
        """Whether any of these switches is on."""
        return any(name in keys and value in (None, "on", "yes", "true", "y") for name, value in self.pairs())

    def with_value(self, key: str, value: str | int) -> Keyed:
        """Set `key`, at its place or at the end. In JSON, `on` and `off` become true and false, as QEMU requires."""
        if self.plain is None:
            out = Keyed(self.implied, None, _set(self.tree or {}, key.split("."), value))
            if sum(name == key for name, _ in out.pairs()) == 1:
                return out
            # The key also exists in another spelling: {"file.driver": "file"} beside {"file": {"driver": "file"}}.
            return Keyed(self.implied, None, _set(self.without(key).tree or {}, key.split("."), value))
        if key == self.implied and self.plain.head is not None:
            return Keyed(self.implied, self.plain.with_head(str(value)))
        return Keyed(self.implied, self.plain.with_value(key, str(value)))

    def with_default(self, key: str, value: str | int) -> Keyed:
        """Set `key` only if it is missing."""
        return self if self.has(key) else self.with_value(key, value)

    def without(self, *keys: str) -> Keyed:
        """Remove `keys`, and all keys below them."""

        def gone(name: str) -> bool:
            return any(name == key or name.startswith(f"{key}.") for key in keys)

        if self.plain is None:
            return Keyed(self.implied, None, _without(self.tree or {}, "", gone))
        head = None if self.implied and gone(self.implied) else self.plain.head
        return Keyed(self.implied, SubOptions(head, tuple(pair for pair in self.plain.pairs if not gone(pair[0]))))

    def render(self) -> str:
        """Join the value again, in its original spelling."""
        if self.plain is not None:
            return self.plain.render()
        return json.dumps(self.tree, separators=(",", ":"), ensure_ascii=False)


@lru_cache(maxsize=512)  # as SubOptions; a tree is never changed, each edit makes a new one
def _parsed(name: str, text: str) -> Keyed:
    if name not in IMPLIED or not text.startswith("{"):
        return Keyed(IMPLIED.get(name), SubOptions.parse(text))
    try:
        tree = json.loads(text)  # not foreign.parse_json: a path in it may not be UTF-8, and must stay unchanged
        check_depth(tree)
    except (ValueError, RecursionError):
        tree = {}
    return Keyed(IMPLIED[name], None, tree if isinstance(tree, dict) else {})


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str | None]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(f"{prefix}.{number}", inner)
    elif isinstance(value, bool):
        yield prefix, _SWITCH[value]
    elif value is not None:
        yield prefix, str(value)


def _set(tree: dict[str, Any], keys: list[str], value: str | int) -> dict[str, Any]:
    key, *rest = keys
    if rest:
        inner = tree.get(key)
        return {**tree, key: _set(inner if isinstance(inner, dict) else {}, rest, value)}
    return {**tree, key: {"on": True, "off": False}.get(value, value) if isinstance(value, str) else value}


def _without(tree: dict[str, Any], prefix: str, gone: Callable[[str], bool]) -> dict[str, Any]:
    """The rest of `tree`, by the names that `_flat` gives: a key may contain dots."""
    out: dict[str, Any] = {}
    for key, inner in tree.items():
        name = f"{prefix}.{key}" if prefix else key
        if not gone(name):
            out[key] = _without(inner, name, gone) if isinstance(inner, dict) else inner
    return out
