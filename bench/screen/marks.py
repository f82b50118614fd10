"""Pommel with marks at the borders of its modules, for `where.py`: what was passed, and when.

python bench/screen/marks.py FILE kvm serve …      is `pommel kvm serve …`, and writes the marks to FILE in the end
"""

from __future__ import annotations

import atexit
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def marked(marks: list[tuple[float, str]], owner: Any, name: str, mark: str, *, before: bool = False) -> None:
    """Have each call of a method noted: as it ends, or `before` it begins."""
    call: Callable[..., Any] = getattr(owner, name)

    def noted(*given: Any, **named: Any) -> Any:
        if before:
            marks.append((time.monotonic(), mark))
            return call(*given, **named)
        try:
            return call(*given, **named)
        finally:
            marks.append((time.monotonic(), mark))

    setattr(owner, name, noted)


def serve(file: str, words: list[str]) -> None:
    """Be `pommel WORDS` with marks, and write them to `file` in the end."""
    from pommel.cli import main as pommel
    from pommel.console.stream import WebSocketStream
    from pommel.screen.delivery import Delivery
    from pommel.screen.endpoint import Endpoint
    from pommel.screen.sources.x11 import X11Source
    from pommel.screen.sources.x11_camera import Camera
    from pommel.screen.sources.x11_pictures import SharedPicture

    marks: list[tuple[float, str]] = []
    marked(marks, Camera, "handle", "damage", before=True)
    marked(marks, SharedPicture, "turn", "grabbed", before=True)
    marked(marks, SharedPicture, "turn", "compared")
    marked(marks, X11Source, "_take", "told", before=True)
    marked(marks, Endpoint, "_show", "marked")
    marked(marks, Delivery, "_picture", "begun", before=True)
    send = WebSocketStream.send

    async def noted(self: WebSocketStream, data: bytes) -> None:
        marks.append((time.monotonic(), "sending"))
        await send(self, data)
        marks.append((time.monotonic(), "sent"))

    WebSocketStream.send = noted  # type: ignore[method-assign]
    atexit.register(lambda: Path(file).write_text(json.dumps(marks)))
    sys.argv = ["pommel", *words]
    pommel()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
