"""The content of a clipboard: its forms, and the reasons why a copy may not be sent. Band: core, no I/O.

A copy has several *forms* of one content, each with a MIME type and its exact bytes. This module has only the forms
that both desktops know; the name of a form on one desktop (X11 atoms, macOS types) is in that desktop's module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

from pommel.clipboard.html_text import plain_text

TEXT = "text/plain;charset=utf-8"
HTML = "text/html"
RTF = "text/rtf"
PNG = "image/png"
TIFF = "image/tiff"
JPEG = "image/jpeg"
BMP = "image/bmp"
WEBP = "image/webp"
GIF = "image/gif"
AVIF = "image/avif"
URIS = "text/uri-list"
FORMS = (TEXT, HTML, RTF, PNG, TIFF, JPEG, WEBP, AVIF, BMP, GIF, URIS)
# Forms with the same meaning on both sides. A list of files is not: its files must be copied first.
PORTABLE = frozenset((TEXT, HTML, RTF, PNG, TIFF))
# Pictures that are fetched and converted to PNG or TIFF; they are not put on a clipboard in these forms.
CONVERTED = frozenset((JPEG, WEBP, AVIF, BMP, GIF))
# Lists of files of one side, because the same path is another file on the other side. Never put on a clipboard.
FILES_OF_HOST = "pommel/files-of-host"
FILES_OF_GUEST = "pommel/files-of-guest"

LIMIT_BYTES = 64 << 20
# Only smaller HTML gets a plain text if it comes without one. Programs usually offer both; parsing more would block us.
HTML_TEXT_MAX = 1 << 20
# The most names of kinds that are kept of a copy without a supported form.
KINDS_MAX = 6
_KIND_MAX = 60
# The largest list of files: 20,000 files with long paths.
URIS_MAX = 4 << 20


class HeldBack(Enum):
    """The reason why a copy is not sent."""

    SECRET = "marked as a secret"  # noqa: S105
    TRANSIENT = "marked as not to be kept"
    TOO_LARGE = "too large"
    NUL = "text with a NUL byte, which the other side would truncate"
    NOT_UTF8 = "text that is not UTF-8"
    FOREIGN = "of a kind that the other side does not know"
    UNREADABLE = "its program did not send it"
    LATE = "its program did not answer in time"
    REFUSED = "its program refused to send it"
    CHARSET = "text in a character set that Pommel does not support"
    PICTURE = "a picture that cannot be read"
    PIXELS = "a picture with too many pixels to convert"
    GONE = "its program has ended"
    NO_FILES = "files, which are not synced here"
    NOT_HIS = "files that a program of another user offered to root"
    OURS = "files that came from the other side, long ago"


@dataclass(frozen=True)
class Content:
    """The content of one side's clipboard. Without forms and without `held`, the clipboard was emptied.

    `size` is in bytes, of all forms, also of forms that were too large to fetch. `kinds` are a few names of unsupported
    forms, for messages; the program that copied chose these names.
    """

    forms: tuple[tuple[str, bytes], ...] = ()
    held: HeldBack | None = None
    size: int = 0
    kinds: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """The reason why it is not sent, and its kinds, for a message; "" if it may be sent."""
        told = self.held.value if self.held else ""
        return f"{told} ({', '.join(self.kinds)})" if told and self.kinds else told

    @property
    def empty(self) -> bool:
        """Whether somebody emptied the clipboard."""
        return not self.forms and self.held is None

    @property
    def text(self) -> bytes | None:
        """The plain text, UTF-8."""
        return self.get(TEXT)

    def get(self, form: str) -> bytes | None:
        """The bytes of one form."""
        return dict(self.forms).get(form)

    @property
    def names(self) -> tuple[str, ...]:
        """Its forms, in the order of FORMS."""
        return tuple(name for name, _ in self.forms)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that are equal for equal forms; of what is held back, only the reason counts."""
        sums = hashlib.sha256(self.held.name.encode() if self.held else b"")
        for name, data in self.forms:
            sums.update(f"\0{name}\0{len(data)}\0".encode())
            sums.update(data)
        return sums.digest()

    def within(self, other: Content) -> bool:
        """Whether `other` has each form of this with the same bytes: a clipboard keeper may keep only some."""
        return bool(self.forms) and set(self.forms) <= set(other.forms)

    def only(self, forms: Collection[str]) -> Content:
        """The part of it for a side that knows only these forms."""
        if not self.forms or set(self.names) <= set(forms):
            return self
        kept = tuple((name, data) for name, data in self.forms if name in forms)
        return _sized(kept) if kept else foreign(self.names, self.size)

    def kept_back(self, why: HeldBack) -> Content:
        """The same copy without its forms: only its size, and the reason why it is not sent."""
        return replace(self, forms=(), held=why)


EMPTY = Content()


def content_of(forms: Mapping[str, bytes] | Iterable[tuple[str, bytes]], limit: int = LIMIT_BYTES) -> Content:
    """Make a Content by the rules below; it is held back if it breaks one.

    Text keeps its bytes. HTML becomes UTF-8 and declares it. HTML without plain text gets one, up to HTML_TEXT_MAX; an
    empty form is ignored. More than `limit` bytes in all, or more than URIS_MAX for a list of files, are refused, never
    truncated.
    """
    found = {name: data for name, data in dict(forms).items() if name in FORMS and data}
    if HTML in found:
        found[HTML] = _declared(found[HTML])
        small = len(found[HTML]) <= HTML_TEXT_MAX
        if small and TEXT not in found and (plain := plain_text(found[HTML])):
            found[TEXT] = plain
    content = _sized(tuple((name, found[name]) for name in FORMS if name in found))
    fault = _fault(found.get(TEXT, b""))
    if fault is None and (content.size > limit or len(found.get(URIS, b"")) > URIS_MAX):
        fault = HeldBack.TOO_LARGE
    return content.kept_back(fault) if fault else content


def text_of(text: str | bytes) -> Content:
    """Make a Content of plain text."""
    return content_of({TEXT: text.encode() if isinstance(text, str) else text})


def foreign(kinds: Iterable[str], size: int = 0, why: HeldBack = HeldBack.FOREIGN) -> Content:
    """A copy without any supported form, with a few short, printable names of its kinds."""
    plain = ("".join(letter if letter.isprintable() else "\ufffd" for letter in kind)[:_KIND_MAX] for kind in kinds)
    named = tuple(dict.fromkeys(kind for kind in plain if kind))
    return Content(held=why, size=size, kinds=(*named[:KINDS_MAX], *(["…"] if len(named) > KINDS_MAX else [])))


def files_of(owner: str, uris: bytes) -> Content:
    """Make a Content of the files that `owner` (FILES_OF_HOST or FILES_OF_GUEST) has copied."""
    return _sized(((owner, uris),))


def _sized(forms: tuple[tuple[str, bytes], ...]) -> Content:
    return Content(forms, size=sum(len(data) for _, data in forms))


def _fault(text: bytes) -> HeldBack | None:
    if b"\0" in text:
        return HeldBack.NUL
    try:
        text.decode()
    except UnicodeDecodeError:
        return HeldBack.NOT_UTF8
    return None


def _declared(html: bytes) -> bytes:
    """Make HTML UTF-8 with a declaration: without one macOS reads it as Latin-1, and old Firefox offers UTF-16."""
    if html[:2] in (b"\xff\xfe", b"\xfe\xff"):
        html = html.decode("utf-16", errors="replace").encode()
    if b"charset" in html[:1024].lower():
        return html
    return b'<meta charset="utf-8">' + html
