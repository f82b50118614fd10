"""A copy as the clipboard room has it, and as the console's page has it. Band: app."""

from __future__ import annotations

from pommel.clipboard.content import HTML, LIMIT_BYTES, PNG, TEXT, Content, Held, content_of
from pommel.console.clipboard import Clip
from pommel.errors import StateError

_FORMS = {"text": TEXT, "html": HTML, "png": PNG}


def clip_of(content: Content) -> Clip:
    """Take from a copy what a browser can have.

    Raises:
        StateError: it is held back, and may not travel.
    """
    if content.held is Held.FOREIGN:
        return Clip()  # who cannot tell a picture from nothing says this of both
    if content.held is not None:
        raise StateError(f"what is on the machine's clipboard stays there: {content.held.value}")
    text, html = content.text, content.get(HTML)
    return Clip(text.decode() if text else None, html.decode(errors="replace") if html else None, content.get(PNG))


def content_of_clip(clip: Clip, forms: frozenset[str], limit: int = LIMIT_BYTES) -> Content:
    """Make a copy of what a browser gave, for a clipboard that knows `forms`.

    Raises:
        StateError: nothing of it can be put there.
    """
    content = content_of({_FORMS[name]: data for name, data in clip.forms}, limit).only(forms)
    if content.held is not None:
        raise StateError(f"the machine's clipboard does not take it: {content.held.value}")
    return content
