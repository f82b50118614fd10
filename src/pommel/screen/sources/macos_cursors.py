"""Finds the protocol's pointer shape for a Mac's pointer. Band: core, no I/O.

macOS gives the picture of the pointer, but not its meaning. So the picture is compared with those of AppKit's named
cursors (NSCursor.h). A program's own cursor counts as an arrow.
"""

from __future__ import annotations

from collections.abc import Callable

from pommel.wire.messages import CursorShape

# NSCursor's class methods; the last five came with macOS 15.
NAMED: dict[str, CursorShape] = {
    "arrowCursor": CursorShape.ARROW,
    "IBeamCursor": CursorShape.TEXT,
    "IBeamCursorForVerticalLayout": CursorShape.TEXT,
    "pointingHandCursor": CursorShape.POINTER,
    "crosshairCursor": CursorShape.CROSSHAIR,
    "openHandCursor": CursorShape.MOVE,
    "closedHandCursor": CursorShape.MOVE,
    "operationNotAllowedCursor": CursorShape.NOT_ALLOWED,
    "disappearingItemCursor": CursorShape.NO_DROP,
    "dragLinkCursor": CursorShape.ALIAS,
    "dragCopyCursor": CursorShape.COPY,
    "contextualMenuCursor": CursorShape.ARROW,
    "resizeLeftCursor": CursorShape.EW_RESIZE,
    "resizeRightCursor": CursorShape.EW_RESIZE,
    "resizeLeftRightCursor": CursorShape.EW_RESIZE,
    "resizeUpCursor": CursorShape.NS_RESIZE,
    "resizeDownCursor": CursorShape.NS_RESIZE,
    "resizeUpDownCursor": CursorShape.NS_RESIZE,
    "columnResizeCursor": CursorShape.COL_RESIZE,
    "rowResizeCursor": CursorShape.ROW_RESIZE,
    "zoomInCursor": CursorShape.ZOOM_IN,
    "zoomOutCursor": CursorShape.ZOOM_OUT,
}
# NSCursorFrameResizePosition…: the cursors for a window's corners, which have shapes of their own since macOS 15.
CORNERS: dict[str, CursorShape] = {
    "NSCursorFrameResizePositionTopLeft": CursorShape.NWSE_RESIZE,
    "NSCursorFrameResizePositionBottomRight": CursorShape.NWSE_RESIZE,
    "NSCursorFrameResizePositionTopRight": CursorShape.NESW_RESIZE,
    "NSCursorFrameResizePositionBottomLeft": CursorShape.NESW_RESIZE,
}
_MANY = 64


class Cursors:
    """Shapes by picture. `look` returns the picture of a cursor by its name in the tables; None if macOS has none."""

    def __init__(self, look: Callable[[str], bytes | None]) -> None:
        self._look = look
        self._shapes: dict[bytes, CursorShape] = {}

    def shape_of(self, picture: bytes) -> CursorShape:
        """Return the shape of the pointer with this picture."""
        if picture not in self._shapes:
            if len(self._shapes) >= _MANY:  # an animated cursor has many pictures: they must not fill the memory
                self._shapes.clear()
            # Looked up again for each new picture: all pictures change with the pointer's size in Settings.
            known = self._known()
            self._shapes[picture] = known.get(picture, CursorShape.ARROW)
        return self._shapes[picture]

    def _known(self) -> dict[bytes, CursorShape]:
        found: dict[bytes, CursorShape] = {}
        for name, shape in (NAMED | CORNERS).items():
            picture = self._look(name)
            if picture is not None:
                found.setdefault(picture, shape)
        return found
