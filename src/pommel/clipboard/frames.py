"""The messages of both ends over SSH: lines of words, some followed by bytes. Band: core, no I/O.

    to the guest     limit BYTES EVERY_MS              the first line: the largest copy, and how often to look
                     write TOKEN FORMS +N              N bytes follow: the forms in this order
                     write TOKEN empty
                     ping N
    from the guest   POMMEL-CLIPBOARD 1 KIND FORMS [KEY=VALUE]...   the greeting; output of a login shell before it is
                                                       skipped
                     copy COUNT raw FORMS +N           a copy was made; the first one is the present content
                     copy COUNT base64 FORM +N         one form as base64, from a shell, which cannot hold other bytes:
                                                       one of `_SHELL`, or old text: `string`, `compound`
                     copy COUNT foreign +N             no supported form; the names of its kinds follow, one per line
                     copy COUNT empty | copy COUNT held REASON [BYTES]
                     done TOKEN | failed TOKEN | pong N

FORMS is `NAME:BYTES,...` with the names of `_SHORT`. `+N` is only at the end of a line, and says that N bytes follow.
The content of a clipboard is only in such bytes: no word of a line comes from a clipboard.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from pommel.clipboard.compound_text import UnknownCharset
from pommel.clipboard.content import (
    AVIF,
    BMP,
    EMPTY,
    GIF,
    HTML,
    JPEG,
    PNG,
    PORTABLE,
    RTF,
    TEXT,
    TIFF,
    URIS,
    WEBP,
    Content,
    HeldBack,
    content_of,
    foreign,
)
from pommel.clipboard.targets import kinds, received
from pommel.errors import ProtocolError

MAGIC = b"POMMEL-CLIPBOARD 1 "
_LINE_MAX = 1024
_NOISE_MAX = 256 << 10  # a login shell may print this much before the greeting
_SHORT = {"text": TEXT, "html": HTML, "rtf": RTF, "png": PNG, "tiff": TIFF, "uris": URIS}
# The forms that a shell may send, with pictures that are converted here. Old text has the name of its X11 target.
_PICTURES = {"png": PNG, "tiff": TIFF, "jpeg": JPEG, "webp": WEBP, "avif": AVIF, "bmp": BMP, "gif": GIF}
_SHELL = {"text": TEXT, "uris": URIS, **_PICTURES}
_OLD_TEXT = {"string": "STRING", "compound": "COMPOUND_TEXT"}
# The names of kinds may have this many bytes, whatever the limit of a copy is.
_KINDS_BYTES = 4096
_LONG = {form: name for name, form in _SHORT.items()}
_HELD = {
    "secret": HeldBack.SECRET,
    "transient": HeldBack.TRANSIENT,
    "large": HeldBack.TOO_LARGE,
    "foreign": HeldBack.FOREIGN,
    "unreadable": HeldBack.UNREADABLE,
    "late": HeldBack.LATE,
}


@dataclass(frozen=True, slots=True)
class Hello:
    """The greeting: the type of guest (`mac` or `posix`), the forms it accepts, and other notes."""

    kind: str
    forms: frozenset[str]
    notes: dict[str, str]

    @property
    def another_user(self) -> list[str]:
        """A note for the user, if another user is logged in at the Mac's screen."""
        user, console = self.notes.get("user", ""), self.notes.get("console", "")
        if not (user and console) or user == console:
            return []
        return [f"{console} is logged in at the Mac's screen, not {user}: each user has a separate clipboard"]

    def fitting(self, content: Content) -> Content:
        """The forms of a copy that this guest gets; a guest with a shell accepts only one, the first."""
        content = content.only(self.forms & PORTABLE)
        return content if self.kind == "mac" else content.only(content.names[:1])


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy was made on the guest; `count` is its change count."""

    count: int
    content: Content


@dataclass(frozen=True, slots=True)
class Done:
    """The result of our write: the guest has taken it, or failed."""

    token: int
    taken: bool


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping."""

    number: int


Message = Hello | Copied | Done | Pong


def limit_line(limit: int, every_ms: int) -> bytes:
    """The first line to the guest."""
    return b"limit %d %d\n" % (limit, every_ms)


def ping_line(number: int) -> bytes:
    """The line that asks for a pong."""
    return b"ping %d\n" % number


def write_frame(token: int, content: Content) -> list[bytes]:
    """The parts of a write: the line, then the bytes of each form, which are not copied."""
    if not content.forms:
        return [b"write %d empty\n" % token]
    forms = ",".join(f"{_LONG[name]}:{len(data)}" for name, data in content.forms)
    return [f"write {token} {forms} +{content.size}\n".encode(), *(data for _, data in content.forms)]


class FrameReader:
    """Makes messages from the guest's bytes, in pieces of any size."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Base64 is a third longer.
        self._most = limit + limit // 3 + 16
        self._buffer = bytearray()
        self._searched = 0  # so many bytes of the buffer contain no line end: they are not searched again
        self._words: list[str] | None = None
        self._wanted = 0
        self._greeted = False
        self._noise = 0

    def feed(self, data: bytes) -> Iterator[Message]:
        """Add bytes and yield the messages that are complete.

        Raises:
            ProtocolError: they are not frames, or are larger than the limit.
        """
        self._buffer += data
        while True:
            if self._words is None and not self._take_line():
                return
            if self._words is None:
                continue
            if len(self._buffer) < self._wanted:
                return
            payload = bytes(memoryview(self._buffer)[: self._wanted])
            del self._buffer[: self._wanted]
            words, self._words, self._wanted = self._words, None, 0
            yield _message(words, payload, self._limit)

    def _take_line(self) -> bool:
        end = self._buffer.find(b"\n", self._searched)
        self._searched = len(self._buffer) if end < 0 else 0
        if end < 0:
            if len(self._buffer) > (_LINE_MAX if self._greeted else _NOISE_MAX):
                raise ProtocolError("the guest's end of the clipboard sent a line that is too long")
            return False
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        if self._greeted:
            self._words = _words(line)
            self._wanted = self._payload(self._words)
        else:
            self._greet(line)
        return True

    def _greet(self, line: bytes) -> None:
        at = line.find(MAGIC)
        if at >= 0:
            self._greeted = True
            self._words = _words(line[at:])
            return
        self._noise += len(line) + 1
        if self._noise > _NOISE_MAX:
            raise ProtocolError("the guest's login shell does not stop printing")

    def _payload(self, words: list[str]) -> int:
        if not words[-1].startswith("+"):
            return 0
        size = _number(words.pop()[1:])
        if size > (max(_KINDS_BYTES, self._most) if words[2:] == ["foreign"] else self._most):
            raise ProtocolError(f"the guest sent {size} bytes, more than the {self._limit} agreed on")
        return size


def _words(line: bytes) -> list[str]:
    try:
        said = line.rstrip(b"\r").decode("ascii")
    except UnicodeDecodeError:
        said = "\0"
    # Some words are shown in a terminal, which would obey control characters.
    if len(line) > _LINE_MAX or not said.isprintable():
        raise ProtocolError("the guest's end of the clipboard sent an invalid line")
    return said.split(" ")


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 16):
        raise ProtocolError(f"the guest's end of the clipboard sent {word[:40]!r} for a number")
    return int(word)


def _message(words: list[str], payload: bytes, limit: int) -> Message:
    match words:
        case ["POMMEL-CLIPBOARD", "1", kind, forms, *notes]:
            named = frozenset(_SHORT[name] for name in forms.split(",") if name in _SHORT)
            return Hello(kind, named, dict(note.partition("=")[::2] for note in notes))
        case ["copy", count, *rest]:
            return Copied(_number(count), _content(rest, payload, limit))
        case ["done", token]:
            return Done(_number(token), True)
        case ["failed", token]:
            return Done(_number(token), False)
        case ["pong", number]:
            return Pong(_number(number))
    raise ProtocolError(f"the guest's end of the clipboard sent {' '.join(words)[:80]!r}")


def _content(words: list[str], payload: bytes, limit: int) -> Content:
    match words:
        case ["raw", forms]:
            return content_of(_cut(forms, payload), limit)
        case ["base64", name] if name in _SHELL or name in _OLD_TEXT:
            try:
                data = base64.b64decode(payload, validate=True)
            except binascii.Error as broken:
                raise ProtocolError("the guest's end of the clipboard sent broken base64") from broken
            return content_of({_SHELL[name]: data}, limit) if name in _SHELL else _old_text(name, data, limit)
        case ["foreign"]:
            return foreign(kinds(payload.decode(errors="replace").splitlines()))
        case ["empty"]:
            return EMPTY
        case ["held", reason, *size]:
            return Content(held=_HELD.get(reason, HeldBack.UNREADABLE), size=_number(size[0]) if size else 0)
    raise ProtocolError(f"the guest's end of the clipboard sent a copy as {' '.join(words)[:80]!r}")


def _old_text(name: str, data: bytes, limit: int) -> Content:
    """Text from before UTF-8. Old versions of xclip offer UTF-8 as STRING too, so this is tried first."""
    try:
        if name == "string":
            with contextlib.suppress(UnicodeDecodeError):
                return content_of({TEXT: data.rstrip(b"\0").decode().encode()}, limit)
        return content_of({TEXT: received(_OLD_TEXT[name], data)}, limit)
    except UnknownCharset as unknown:
        return foreign([unknown.charset], len(data), HeldBack.CHARSET)


def _cut(forms: str, payload: bytes) -> Iterator[tuple[str, bytes]]:
    view, at = memoryview(payload), 0
    for entry in forms.split(","):
        name, _, length = entry.partition(":")
        end = at + _number(length)
        if name not in _SHORT or end > len(payload):
            raise ProtocolError(f"the guest's end of the clipboard sent a form {entry[:40]!r}")
        yield _SHORT[name], bytes(view[at:end])
        at = end
    if at != len(payload):
        raise ProtocolError("the guest's end of the clipboard sent more bytes than forms")
