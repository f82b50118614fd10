"""Records our pressed keys on the X server, so that none stays down if this process is killed. Band: shell.

A key pressed by XTEST stays down when its client is killed, and repeats for ever. So the keys are written to a property
of the root window before they are pressed. The property is named after a window that the server destroys with our
connection. Pommel's next connection finds properties without their window, and releases the keys in them. Releasing a
key that is not down has no effect.
"""

from __future__ import annotations

from collections.abc import Collection

from Xlib import X, Xatom
from Xlib.display import Display
from Xlib.error import XError

_PREFIX = "_POMMEL_HELD_"


class HeldRecord:
    """This connection's record. The caller chooses the meaning of the numbers."""

    def __init__(self, display: Display) -> None:
        self._root = display.screen().root
        self._window = self._root.create_window(0, 0, 1, 1, 0, X.CopyFromParent, X.InputOnly)
        self._atom = display.intern_atom(f"{_PREFIX}{self._window.id:x}")
        self._window.change_property(self._atom, Xatom.CARDINAL, 32, [1])
        self._noted: list[int] = []

    def note(self, held: Collection[int]) -> None:
        """Record the keys and buttons held from now on. Call it before a key goes down and after it went up."""
        wanted = sorted(held)
        if wanted == self._noted:
            return
        self._noted = wanted
        if wanted:
            self._root.change_property(self._atom, Xatom.CARDINAL, 32, wanted)
        else:
            self._root.delete_property(self._atom)


def take_orphans(display: Display) -> list[int]:
    """Return the numbers in the records of ended connections, and delete these records."""
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
    """Whether a record's window still belongs to its writer: window numbers are reused, so its property is checked."""
    try:
        window = display.create_resource_object("window", int(name.removeprefix(_PREFIX), 16))
        return window.get_full_property(atom, Xatom.CARDINAL) is not None
    except (XError, ValueError):
        return False
