"""What is held down on an X server, written down there, so that a death of ours leaves no key stuck. Band: shell.

A key that XTEST holds stays down when its client is killed, and repeats for ever. So what is held is written to a
property of the root window first, together with a window that dies with us; whoever comes next finds the properties
whose window is gone, and lets go of what they name. To let go of what is not down does nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from Xlib import X, Xatom
from Xlib.display import Display
from Xlib.error import XError

_PREFIX = "_POMMEL_HELD_"


class HeldRecord:
    """This connection's record. Numbers are the caller's."""

    def __init__(self, display: Display) -> None:
        self._root = display.screen().root
        self._window = self._root.create_window(0, 0, 1, 1, 0, X.CopyFromParent, X.InputOnly)
        self._atom = display.intern_atom(f"{_PREFIX}{self._window.id:x}")
        self._window.change_property(self._atom, Xatom.CARDINAL, 32, [1])
        self._noted: list[int] = []

    def note(self, held: Collection[int]) -> None:
        """Write down what is held from now on. Call it before a key goes down and after it has gone up."""
        wanted = sorted(held)
        if wanted == self._noted:
            return
        self._noted = wanted
        if wanted:
            self._root.change_property(self._atom, Xatom.CARDINAL, 32, wanted)
        else:
            self._root.delete_property(self._atom)


def take_orphans(display: Display) -> list[int]:
    """Return what the records of the dead name, and do away with those."""
    root, found = display.screen().root, list[int]()
    for atom in root.list_properties():
        name = display.get_atom_name(atom)
        if not name.startswith(_PREFIX) or _lives(display, atom, name):
            continue
        record = root.get_full_property(atom, Xatom.CARDINAL)
        root.delete_property(atom)
        found += list(record.value) if record is not None else []
    return found


def _lives(display: Display, atom: int, name: str) -> bool:
    """Tell whether the window that a record is named after is still its writer's: numbers are given out again."""
    try:
        window = display.create_resource_object("window", int(name.removeprefix(_PREFIX), 16))
        return window.get_full_property(atom, Xatom.CARDINAL) is not None
    except (XError, ValueError):
        return False
