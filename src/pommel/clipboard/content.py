"""What a clipboard holds: its forms, and why some of it may not travel. Band: core, no I/O.

A copy is a handful of *forms* of one thing, named by MIME type, each with its exact bytes. What stands here is what
both desktops can say; how a desktop spells a form (X11 atoms, macOS types) is its own module's business.
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
# What means the same on both sides. A list of files does only if the files are copied first.
PORTABLE = frozenset((TEXT, HTML, RTF, PNG, TIFF))
# Pictures that are read, for whoever makes PNG or TIFF of them, and put on no clipboard as they are.
CONVERTED = frozenset((JPEG, WEBP, AVIF, BMP, GIF))
# A list of files by whose they are: the same path names something else on the other side. Never on any clipboard.
FILES_OF_HOST = "pommel/files-of-host"
FILES_OF_GUEST = "pommel/files-of-guest"

LIMIT_BYTES = 64 << 20
# Of HTML that comes without its text. Programs offer both; more would hold up all else while it is read.
HTML_TEXT_MAX = 1 << 20
# Of the kinds that are told of what is of no kind we carry.
KINDS_MAX = 6
_KIND_MAX = 60
# Of a list of files: 20,000 of them with long paths.
URIS_MAX = 4 << 20


class Held(Enum):
    """Why a copy stays where it was made."""

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
    """What one side has on its clipboard. No forms and nothing `held` is an emptied clipboard.

    `size` is in bytes, of all forms, also of forms that were too large to be fetched. `kinds` are a few names, for
    people, of what it has that we do not carry; whoever copied chose them.
    """

    forms: tuple[tuple[str, bytes], ...] = ()
    held: Held | None = None
    size: int = 0
    kinds: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """Why it stays where it is, in words for people, and of which kinds it is; "" if it may travel."""
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
        """Whether each form of this is in `other`, byte for byte: what a clipboard keeper makes of a copy it keeps."""
        return bool(self.forms) and set(self.forms) <= set(other.forms)

    def only(self, forms: Collection[str]) -> Content:
        """What is left of it for a side that knows but these forms."""
        if not self.forms or set(self.names) <= set(forms):
            return self
        kept = tuple((name, data) for name, data in self.forms if name in forms)
        return _sized(kept) if kept else foreign(self.names, self.size)

    def kept_back(self, why: Held) -> Content:
        """The same copy with nothing of it but its size and why it may not travel."""
        return replace(self, forms=(), held=why)


EMPTY = Content()


def content_of(forms: Mapping[str, bytes] | Iterable[tuple[str, bytes]], limit: int = LIMIT_BYTES) -> Content:
    """Make a Content that obeys the rules below, held back where it cannot.

    Text keeps its bytes. HTML is made UTF-8 that says so. HTML without plain text gets its text; a form without bytes
    is none. More than `limit` bytes in all are refused, never cut, and so are more than URIS_MAX of a list of files.
    More than HTML_TEXT_MAX of HTML get no text.
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
        fault = Held.TOO_LARGE
    return content.kept_back(fault) if fault else content


def text_of(text: str | bytes) -> Content:
    """Make a Content of plain text."""
    return content_of({TEXT: text.encode() if isinstance(text, str) else text})


def foreign(kinds: Iterable[str], size: int = 0, why: Held = Held.FOREIGN) -> Content:
    """A copy that has nothing we carry, and the names of what it has: some, printable, none of them long."""
    plain = ("".join(letter if letter.isprintable() else "\ufffd" for letter in kind)[:_KIND_MAX] for kind in kinds)
    named = tuple(dict.fromkeys(kind for kind in plain if kind))
    return Content(held=why, size=size, kinds=(*named[:KINDS_MAX], *(["…"] if len(named) > KINDS_MAX else [])))


def files_of(owner: str, uris: bytes) -> Content:
    """Make a Content of the files that `owner` (FILES_OF_HOST or FILES_OF_GUEST) has copied."""
    return _sized(((owner, uris),))


def printable(text: str) -> str:
    """The same text as a terminal may have it: no control characters but the ends of lines."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)


def _sized(forms: tuple[tuple[str, bytes], ...]) -> Content:
    return Content(forms, size=sum(len(data) for _, data in forms))


def _fault(text: bytes) -> Held | None:
    if b"\0" in text:
        return Held.NUL
    try:
        text.decode()
    except UnicodeDecodeError:
        return Held.NOT_UTF8
    return None


def _declared(html: bytes) -> bytes:
    """HTML as UTF-8 that says so: macOS takes what says nothing for Latin-1, and old Firefox offers UTF-16."""
    if html[:2] in (b"\xff\xfe", b"\xfe\xff"):
        html = html.decode("utf-16", errors="replace").encode()
    if b"charset" in html[:1024].lower():
        return html
    return b'<meta charset="utf-8">' + html
