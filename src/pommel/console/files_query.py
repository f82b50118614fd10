"""The query of a request for files: paths that stay percent-encoded, numbers, an upload. Band: core, no I/O."""

from __future__ import annotations

from pommel.errors import UsageError
from pommel.sftp.browsing import Upload
from pommel.sftp.spelling import entry_in

_NUMBER_DIGITS = 18


class FilesQuery:
    """A query, as it came: `name=value` pairs with `&` between them."""

    def __init__(self, raw: str) -> None:
        self._pairs = [part.partition("=") for part in raw.split("&")]

    def one(self, name: str) -> str:
        """The value of a field that is given once."""
        values = [value for key, _, value in self._pairs if key == name]
        if len(values) != 1:
            raise UsageError(f"the request must have {name} once")
        return values[0]

    def has(self, name: str, value: str) -> bool:
        """Whether a field has this value."""
        return (name, "=", value) in self._pairs

    def number(self, name: str) -> int:
        """A field that is a number, of bytes or seconds."""
        text = self.one(name)
        if not (text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS):
            raise UsageError(f"{name} must be a number")
        return int(text)

    def upload(self) -> Upload:
        """The upload that it speaks of."""
        return Upload(entry_in(self.one("path")), self.number("size"), self.number("mtime"))

    @property
    def replaces(self) -> bool:
        """Whether a file with this name is to be replaced."""
        return self.has("replace", "yes")
