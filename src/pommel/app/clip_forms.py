"""A copy as the clipboard room has it, and as the console's page has it. Band: app."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pommel.clipboard.content import HTML, LIMIT_BYTES, PNG, TEXT, URIS, Content, Held, content_of, foreign
from pommel.console.clipboard import Clip, ClipFile
from pommel.console.telling import Noun
from pommel.errors import StateError

_FORMS = {"text": TEXT, "html": HTML, "png": PNG}


def clip_of(content: Content, noun: Noun, files: Sequence[ClipFile] = (), copies: int = 0) -> Clip:
    """Take from a copy of the `noun`, number `copies`, what a browser can have. Only what is empty gives an empty clip.

    Raises:
        StateError: nothing of it can be had; it says what it is, and why.
    """
    if content.held is Held.GONE:
        raise StateError(f"the {noun}'s clipboard is empty: the program that had copied it has ended")
    if content.held is Held.FOREIGN and not content.kinds:
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
    """Make a copy of what a browser gave, for the clipboard of the `noun`, which takes what is `fitting`.

    Raises:
        StateError: nothing of it can be put there.
    """
    content = content_of({_FORMS[name]: data for name, data in clip.forms}, limit)
    content = fitting(content)
    if content.held is not None:
        raise StateError(f"the {noun}'s clipboard does not accept it: {content.why}")
    return content
