"""Reads a table of a TOML file key by key; checks kinds and ranges, and refuses unknown keys. Band: core, no I/O."""

from __future__ import annotations

import difflib
import re
from typing import Any

from pommel.errors import ConfigError
from pommel.recipe.model import Area, Likeness
from pommel.settings import parse_size

_SIDE_MAX = 1 << 15  # pixels
TOLERANCE = 0.02
TEXT_MAX = 4000  # characters


class Table:
    """One table and its place. Every key that is read is known; `finish` refuses all others.

    All methods raise ConfigError, with the place and the key.
    """

    def __init__(self, where: str, values: dict[str, Any]) -> None:
        self.where = where
        self._values = values
        self._known: set[str] = set()

    @property
    def keys(self) -> list[str]:
        """Its keys."""
        return list(self._values)

    def inside(self, what: str) -> Table:
        """The same table with a more exact place; both share the known keys."""
        made = Table(f"{self.where}: {what}", self._values)
        made._known = self._known
        return made

    def finish(self) -> None:
        """Refuse the keys that were not read."""
        for key in self._values:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(self._known))}"
                raise ConfigError(f"{self.where}: unknown key {key!r}", hint=hint)

    def text(self, key: str, default: str | None = None) -> str:
        """A text; without a default the key is required."""
        found = self.maybe_text(key)
        if found is not None:
            return found
        if default is None:
            raise ConfigError(f"{self.where}: `{key}` is missing")
        return default

    def maybe_text(self, key: str) -> str | None:
        """A text, or None."""
        found = self._take(key)
        if found is not None and (not isinstance(found, str) or len(found) > TEXT_MAX):
            raise self._bad_key(key, f"a text of at most {TEXT_MAX} characters", found)
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty if the key is missing."""
        found = self._take(key)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self._bad_key(key, 'a list of texts, such as ["a", "b"]', found)
        return tuple(found)

    def maybe_pattern(self, key: str) -> str | None:
        """A regular expression of Python's `re`, or None."""
        found = self.maybe_text(key)
        if found is not None:
            try:
                re.compile(found)
            except (re.error, RecursionError, OverflowError) as wrong:
                raise ConfigError(f"{self.where}: `{key}` is not a regular expression: {wrong}") from None
        return found

    def number(self, key: str, default: float, *, least: float = 0.0, most: float, whole: bool = False) -> float:
        """A number from `least` to `most`."""
        found = self._take(key)
        if found is None:
            return default
        if not _is_number(found) or not least <= found <= most or (whole and found != int(found)):
            raise self._bad_key(key, f"a {'whole ' if whole else ''}number from {least:g} to {most:g}", found)
        return float(found)

    def maybe_number(self, key: str, *, most: float) -> float | None:
        """A number from 0 to `most`, or None."""
        return self.number(key, 0.0, most=most) if key in self._values else self._take(key)

    def maybe_bool(self, key: str) -> bool | None:
        """True or false, or None."""
        found = self._take(key)
        if found is not None and not isinstance(found, bool):
            raise self._bad_key(key, "true or false", found)
        return found

    def maybe_size(self, key: str) -> int | None:
        """A size such as "15G", in bytes."""
        found = self._take(key)
        if found is None:
            return None
        try:
            return parse_size(found)
        except ValueError as wanted:
            raise self._bad_key(key, str(wanted), found) from None

    def maybe_span(self, key: str) -> tuple[float, float] | None:
        """Two numbers from 0 to 1, the smaller first."""
        found = self._take(key)
        if found is None:
            return None
        if not _numbers(found, 2) or not 0 <= found[0] <= found[1] <= 1:
            raise self._bad_key(key, "two numbers from 0 to 1, such as [0.05, 1.0]", found)
        return float(found[0]), float(found[1])

    def maybe_area(self, key: str) -> Area | None:
        """Four whole numbers: x, y, width, height in pixels."""
        found = self._take(key)
        if found is None:
            return None
        if not _numbers(found, 4) or not all(_is_pixel(side) for side in found):
            raise self._bad_key(key, "[x, y, width, height] in pixels", found)
        x, y, width, height = map(int, found)
        if not width or not height:
            raise self._bad_key(key, "an area with a width and a height", found)
        return x, y, width, height

    def point(self, key: str) -> tuple[int, int]:
        """Two whole numbers: x, y in pixels."""
        found = self._take(key)
        if not _numbers(found, 2) or not all(_is_pixel(side) for side in found):
            raise self._bad_key(key, "[x, y] in pixels", found)
        return int(found[0]), int(found[1])

    def likeness(self, key: str) -> Likeness | None:
        """A reference picture: { picture = "file.png", tolerance = 0.02 }."""
        table = self.table(key)
        if table is None:
            return None
        made = Likeness(table.text("picture"), table.number("tolerance", TOLERANCE, most=1.0))
        table.finish()
        return made

    def table(self, key: str) -> Table | None:
        """A table inside this one, or None."""
        found = self._take(key)
        if found is None:
            return None
        if not isinstance(found, dict):
            raise self._bad_key(key, "a table, such as { rest_s = 5 }", found)
        return Table(f"{self.where}: {key}", found)

    def tables(self, key: str) -> list[dict[str, Any]]:
        """A list of unparsed tables; empty if the key is missing."""
        found = self._take(key)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._bad_key(key, "a list of tables", found)
        return found

    def inner_tables(self, key: str) -> list[Table]:
        """A list of tables, each with its number in its place."""
        return [Table(f"{self.where}: {key} {number}", one) for number, one in enumerate(self.tables(key), 1)]

    def _take(self, key: str) -> Any:
        self._known.add(key)
        return self._values.get(key)

    def _bad_key(self, key: str, wanted: str, found: object) -> ConfigError:
        return ConfigError(f"{self.where}: `{key}` must be {wanted}, not {found!r}")


def _is_number(found: object) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _numbers(found: object, count: int) -> bool:
    return isinstance(found, list) and len(found) == count and all(map(_is_number, found))


def _is_pixel(found: float) -> bool:
    return 0 <= found <= _SIDE_MAX and found == int(found)
