"""Converts pictures between forms: macOS copies TIFF, Linux programs paste PNG, and some copy JPEG, WebP or
BMP. Band: shell.

A copied picture is not trusted, and its decoder is a large library. So it is decoded in a separate process (`picture`)
with limits on memory and time, which can write nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Hashable

from pommel.clipboard.content import CONVERTED, PNG, TIFF, Content, HeldBack, content_of, foreign
from pommel.clipboard.picture import FORMATS, PIXELS_MAX, TOO_MANY
from pommel.errors import DeadlineError
from pommel.process import run, this_python

PICTURES = frozenset((PNG, TIFF, *CONVERTED))
_DECODE_S = 20.0
_REMEMBERED = 2  # of each side; they are held in memory


class Pictures:
    """Converts pictures for two sides, and recognises its results: a side that reports one has made no new copy."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._made: dict[Hashable, deque[tuple[bytes, Content]]] = {}

    async def for_side(self, side: Hashable, content: Content, forms: Collection[str]) -> Content:
        """See `fitted`."""
        made = await fitted(content, forms, self._limit)
        if made is not content and made.held is None:
            self._made.setdefault(side, deque(maxlen=_REMEMBERED)).append((made.digest, content))
        return made

    def known(self, side: Hashable, content: Content) -> Content:
        """The content of `side`; if it is a result of ours, the original."""
        return next((origin for made, origin in self._made.get(side, ()) if made == content.digest), content)


async def fitted(content: Content, forms: Collection[str], limit: int) -> Content:
    """If a copy's picture is in none of `forms`, convert it to PNG or TIFF, whichever is in `forms`.

    Otherwise the copy is returned unchanged. A picture that cannot be converted is left out; if nothing else is left,
    the copy is held back with the reason.
    """
    source = next((form for form in FORMATS if form in content.names), None)
    target = next((form for form in (PNG, TIFF) if form in forms), None)
    if source is None or target is None or any(form in forms for form in content.names if form in PICTURES):
        return content
    made = await asyncio.to_thread(converted, content.get(source) or b"", source, target)
    others = [form for form in content.forms if form[0] not in PICTURES]
    if isinstance(made, bytes):
        return content_of([*others, (target, made)], limit)
    return content_of(others, limit) if others else foreign([source], content.size, made)


async def with_png(content: Content, limit: int) -> Content:
    """Convert a copy's picture to PNG if it is in another form (see `fitted`)."""
    return await fitted(content, (PNG,), limit)


def converted(picture: bytes, source: str, target: str) -> bytes | HeldBack:
    """Convert a picture between the forms of a clipboard, or return the reason of the failure: PICTURE or PIXELS.

    It blocks for a moment: call it in a thread.
    """
    argv = this_python("-m", "pommel.clipboard.picture", source, target, str(PIXELS_MAX))
    try:
        done = run(argv, input=picture, timeout_s=_DECODE_S, check=False)
    except DeadlineError:
        return HeldBack.PICTURE
    if done.returncode != 0 or not done.stdout:
        return HeldBack.PIXELS if done.returncode == TOO_MANY else HeldBack.PICTURE
    return done.stdout
