"""Parses values such as `ide-hd,bus=sata.2,drive=OpenCoreBoot`. Band: core, no I/O.

QEMU's own syntax (util/qemu-option.c): items are separated by commas, `,,` is a comma inside an item, the first item
may lack its key, and an item without `=` is a flag (`+avx2`, `check`). Order and repetition are kept, because both have
a meaning for QEMU (`hostfwd=` repeats). It is not for values that are no lists: `-append`, `-pidfile`, JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

Pair = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class SubOptions:
    """A head (None if the first item has a key) and the pairs after it; a flag's value is None."""

    head: str | None
    pairs: tuple[Pair, ...] = ()

    @classmethod
    def parse(cls, text: str) -> SubOptions:
        """Parse a value. Any text is accepted, and `render` returns the same text."""
        return _parsed(text)

    def render(self) -> str:
        """Join the value again, with doubled commas."""
        items = [] if self.head is None else [self.head]
        items += [key if value is None else f"{key}={value}" for key, value in self.pairs]
        return ",".join(escape(item) for item in items)

    def get(self, key: str) -> str | None:
        """The value of `key`; the last one counts, as it does for QEMU."""
        return next((value for name, value in reversed(self.pairs) if name == key), None)

    def all(self, key: str) -> tuple[str, ...]:
        """Every value of a repeated key."""
        return tuple(value for name, value in self.pairs if name == key and value is not None)

    def has(self, *keys: str) -> bool:
        """Whether one of `keys` exists, with or without a value."""
        return any(name in keys for name, _ in self.pairs)

    def is_on(self, key: str) -> bool:
        """Whether a switch is on; a bare flag is the old spelling of `=on`."""
        return any(name == key and value in (None, "on", "yes", "true", "y") for name, value in self.pairs)

    def with_head(self, head: str) -> SubOptions:
        """Another head, the same pairs."""
        return replace(self, head=head)

    def with_value(self, key: str, value: str) -> SubOptions:
        """Set `key` at its first place, else at the end; repetitions are removed."""
        if not self.has(key):
            return replace(self, pairs=(*self.pairs, (key, value)))
        place = next(i for i, (name, _) in enumerate(self.pairs) if name == key)
        before, after = self.pairs[:place], self.pairs[place + 1 :]
        return replace(self, pairs=(*before, (key, value), *(pair for pair in after if pair[0] != key)))

    def with_default(self, key: str, value: str) -> SubOptions:
        """Set `key` only if it is missing."""
        return self if self.has(key) else self.with_value(key, value)

    def without(self, *keys: str) -> SubOptions:
        """Remove every pair with one of these keys."""
        return replace(self, pairs=tuple(pair for pair in self.pairs if pair[0] not in keys))

    def with_pairs(self, pairs: Iterable[Pair]) -> SubOptions:
        """The same head, other pairs."""
        return replace(self, pairs=tuple(pairs))


def escape(text: str) -> str:
    """Double the commas of one item."""
    return text.replace(",", ",,")


@lru_cache(maxsize=512)  # a reader of a line parses each of its values many times
def _parsed(text: str) -> SubOptions:
    items = _split(text)
    head = None
    if "=" not in items[0]:
        head, items = items[0], items[1:]
    return SubOptions(head, tuple(_pair(item) for item in items))


def _split(text: str) -> list[str]:
    # A NUL cannot be in an argument, so it can stand for the escaped comma during the split.
    return [item.replace("\0", ",") for item in text.replace(",,", "\0").split(",")]


def _pair(item: str) -> Pair:
    key, equals, value = item.partition("=")
    return (key, value) if equals else (key, None)
