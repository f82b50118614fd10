"""Convert a copy between the clipboard room's `Content` and the console page's `Clip`. Band: app."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pommel.clipboard.content import HTML, LIMIT_BYTES, PNG, TEXT, URIS, Content, HeldBack, content_of, foreign
from pommel.console.clipboard import Clip, ClipFile
from pommel.console.telling import Noun
from pommel.errors import StateError

_FORMS = {"text": TEXT, "html": HTML, "png": PNG}


def clip_of(content: Content, noun: Noun, files: Sequence[ClipFile] = (), copies: int = 0) -> Clip:
    """The parts of copy number `copies` that a browser can use. Only an empty copy gives an empty clip.

    Raises:
        StateError: no part can be used; the message names the kinds and the reason.
    """
    if content.held is HeldBack.GONE:
        raise StateError(f"the {noun}'s clipboard is empty: the program that had copied it has ended")
    if content.held is HeldBack.FOREIGN and not content.kinds:
        raise StateError(f"the {noun}'s clipboard has no text; Pommel cannot tell whether it has other content")
    if content.held is not None:
        raise StateError(f"the {noun}'s clipboard is not copied: {content.why}")
    text, html, png = content.text, content.get(HTML), content.get(PNG)
    if content.forms and not files and text is None and html is None and png is None:
        kinds = foreign(name for name in content.names if name != URIS)
        raise StateError(f"the {noun}'s clipboard is not copied: {kinds.why}")
    decoded = text.decode() if text else None, html.decode(errors="replace") if html else None
    return Clip(*decoded, png, tuple(files), copies)


def content_of_clip(clip: Clip, noun: Noun, fitting: Callable[[Content], Content], limit: int = LIMIT_BYTES) -> Content:
    """The browser's clip as content for the clipboard of the `noun`; `fitting` leaves the forms that it accepts.

    Raises:
        StateError: the clipboard accepts no part of it.
    """
    content = content_of({_FORMS[name]: data for name, data in clip.forms}, limit)
    content = fitting(content)
    if content.held is not None:
        raise StateError(f"the {noun}'s clipboard does not accept it: {content.why}")
    return content
