"""The text of HTML that a reader would see. Band: core, no I/O.

The HTML comes from a guest or from any program. So any bytes are accepted and nothing here raises, and each byte is
read once, so that the time grows only linearly with the size (html.parser guarantees neither). It follows WHATWG HTML
13.2.5 as far as needed to separate tags, comments and text. A tag or comment without an end goes to the end of the
text, as in that standard.
"""

from __future__ import annotations

import html
import re

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_LISTS = ("dd", "dl", "dt", "li", "ol", "ul")
_BLOCKS = frozenset(
    (*_HEADINGS, *_LISTS, "address", "article", "blockquote", "br", "div", "hr", "p", "pre", "table", "tr")
)
# Elements whose content is not markup.
_RAW = ("script", "style")
_UNSEEN = frozenset((*_RAW, "head", "title"))

# A comment, something that counts as a comment ("<!", "<?", "</" without a letter), or the name of a tag.
_MARKUP = re.compile(r"<(?:(?P<comment>!--)|(?P<other>[!?]|/[^a-zA-Z])|(?P<end>/?)(?P<name>[a-zA-Z][^\t\n\f\r />]*))")
_COMMENT_END = re.compile("--!?>")
# Quotes are quotes only where a value begins.
_IN_TAG = re.compile(r"=[\t\n\f\r ]*(?:(?P<quote>[\"'])|[^\t\n\f\r >]*)|>")
_RAW_END = {name: re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE) for name in _RAW}
# html.unescape would convert these to numbers; no character has such a long number.
_NO_CHARACTER = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")


def plain_text(data: bytes) -> bytes:
    """Extract the text of HTML in UTF-8, with a line for each block: for programs that only accept plain text."""
    source, text, at = data.decode(errors="replace"), _Text(), 0
    while (found := _MARKUP.search(source, at)) is not None:
        text.add(source[at : found.start()])
        name = (found["name"] or "").lower()
        at = _behind(source, found)
        if found["end"]:
            text.end(name)
        elif name:
            text.begin(name)
            if name in _RAW:
                closing = _RAW_END[name].search(source, at)
                at = closing.start() if closing else len(source)
    text.add(source[at:])
    return text.result().encode()


def _behind(source: str, found: re.Match[str]) -> int:
    """The position after the found comment or tag."""
    if found["comment"]:
        closing = _COMMENT_END.search(source, found.start() + 2)  # "<!-->" is whole
        return closing.end() if closing else len(source)
    if found["other"]:
        return _after(source, ">", found.start() + 2)
    at = found.end()
    while (part := _IN_TAG.search(source, at)) is not None:
        at = part.end()
        if part[0] == ">":
            return at
        if part["quote"]:
            at = _after(source, part["quote"], at)
    return len(source)


def _after(source: str, letter: str, at: int) -> int:
    return source.find(letter, at) + 1 or len(source)


class _Text:
    """Collects what a reader would see, a new line for each block."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._unseen = 0

    def begin(self, tag: str) -> None:
        if tag == "body":
            self._unseen = 0  # HTML may leave out </head>
        elif tag in _UNSEEN:
            self._unseen += 1
        elif tag in _BLOCKS:
            self._break()

    def end(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _BLOCKS:
            self._break()

    def add(self, data: str) -> None:
        between_blocks = data.isspace() and self._pieces[-1:] == ["\n"]
        if data and not self._unseen and not between_blocks:
            plain = html.unescape(_NO_CHARACTER.sub("\ufffd", data))
            self._pieces.append(plain.replace("\n", " ").replace("\0", "\ufffd"))

    def result(self) -> str:
        lines = "".join(self._pieces).split("\n")
        return "\n".join(" ".join(line.split()) for line in lines).strip("\n")

    def _break(self) -> None:
        if self._pieces and self._pieces[-1] != "\n":
            self._pieces.append("\n")
