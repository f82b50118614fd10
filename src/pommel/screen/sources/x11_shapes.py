"""Finds the wire's pointer shape for the name of an X11 cursor. Band: core, no I/O.

The names are from the X cursor font, the freedesktop cursor specification, and themes that use the toolkits' names.
"""

from __future__ import annotations

from pommel.wire.messages import CursorShape

_NAMES: dict[CursorShape, str] = {
    CursorShape.ARROW: "left_ptr default arrow top_left_arrow x_cursor x-cursor right_ptr",
    CursorShape.PROGRESS: "progress left_ptr_watch half-busy",
    CursorShape.CROSSHAIR: "crosshair cross tcross cross_reverse diamond_cross cell plus",
    CursorShape.POINTER: "pointer hand hand1 hand2 pointing_hand openhand grab",
    CursorShape.HELP: "help question_arrow whats_this left_ptr_help",
    CursorShape.TEXT: "text xterm ibeam vertical-text",
    CursorShape.NO_DROP: "no-drop dnd-none dnd-no-drop circle",
    CursorShape.MOVE: "move fleur all-scroll size_all dnd-move grabbing closedhand dnd-ask",
    CursorShape.NESW_RESIZE: "nesw-resize size_bdiag fd_double_arrow top_right_corner "
    "bottom_left_corner ne-resize sw-resize",
    CursorShape.NS_RESIZE: "ns-resize n-resize s-resize sb_v_double_arrow v_double_arrow double_arrow size_ver "
    "top_side bottom_side",
    CursorShape.NWSE_RESIZE: "nwse-resize size_fdiag bd_double_arrow top_left_corner "
    "bottom_right_corner nw-resize se-resize",
    CursorShape.EW_RESIZE: "ew-resize e-resize w-resize sb_h_double_arrow h_double_arrow size_hor left_side right_side",
    CursorShape.ALIAS: "alias link dnd-link center_ptr up_arrow up-arrow sb_up_arrow",
    CursorShape.WAIT: "wait watch",
    CursorShape.NONE: "none",
    CursorShape.NOT_ALLOWED: "not-allowed crossed_circle forbidden pirate",
    CursorShape.COL_RESIZE: "col-resize split_h",
    CursorShape.ROW_RESIZE: "row-resize split_v",
    CursorShape.COPY: "copy dnd-copy",
    CursorShape.ZOOM_IN: "zoom-in zoom_in",
    CursorShape.ZOOM_OUT: "zoom-out zoom_out",
}
_SHAPES = {name: shape for shape, names in _NAMES.items() for name in names.split()}


def shape_of(name: str, visible: bool) -> CursorShape:
    """Return the shape for a cursor's name ("" if it has none); without a visible pixel it is `NONE`."""
    if not visible:
        return CursorShape.NONE
    return _SHAPES.get(name.lower(), CursorShape.ARROW)
