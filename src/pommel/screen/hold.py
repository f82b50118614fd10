"""Which viewer holds which key and button down. Band: core, no I/O.

A key is down for the machine while at least one viewer holds it. So if one of two viewers releases a key, nothing is
sent: MeshCentral's page releases all modifiers after each Screen, and this must not release another viewer's Shift. The
release of a key that nobody holds is sent to the machine: it does no harm, and frees a key that is stuck.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pommel.screen.actions import Action, MovePointer, PressKey, RelativeMove
from pommel.wire.keymap import find_key

KeyId = tuple[int, bool, bool]


@dataclass(slots=True)
class Hold:
    """The keys and buttons that all viewers hold. A holder is any hashable object that stands for one viewer."""

    x: int = 0
    y: int = 0
    _keys: dict[object, set[KeyId]] = field(default_factory=dict)
    _buttons: dict[object, int] = field(default_factory=dict)

    @property
    def buttons(self) -> int:
        """The buttons that are down for the machine."""
        mask = 0
        for held in self._buttons.values():
            mask |= held
        return mask

    def press(self, holder: object, key: PressKey) -> bool:
        """Note a key that goes down or up. False: do not send it to the machine."""
        name = _name(key)
        held = self._keys.setdefault(holder, set())
        if key.down:
            held.add(name)
            return True
        held.discard(name)
        return not any(name in others for others in self._keys.values())

    def point(self, holder: object, x: int, y: int, buttons: int) -> MovePointer:
        """Note where a viewer points and which buttons it has down, and return what to send to the machine."""
        self.x, self.y = x, y
        self._buttons[holder] = buttons
        return MovePointer(x, y, self.buttons)

    def move_by(self, holder: object, right: int, down: int, buttons: int) -> RelativeMove:
        """As `point`, for a viewer that sends relative movements."""
        self._buttons[holder] = buttons
        return RelativeMove(right, down, self.buttons)

    def buttons_of(self, holder: object) -> int:
        """The buttons that this viewer holds down."""
        return self._buttons.get(holder, 0)

    def leave(self, holder: object) -> list[Action]:
        """Forget a viewer, and return the releases of all that no other viewer holds."""
        keys = self._keys.pop(holder, set())
        others = set().union(*self._keys.values())
        actions: list[Action] = [
            PressKey(vk, extended, False, legend) for vk, extended, legend in sorted(keys - others)
        ]
        before = self.buttons
        self._buttons.pop(holder, None)
        if self.buttons != before:
            actions.append(MovePointer(self.x, self.y, self.buttons))
        return actions


def _name(key: PressKey) -> KeyId:
    # Some viewers send virtual key 10 for the left Shift, and others A0: both must be the same key here.
    known = find_key(key.vk, key.extended)
    return (known.vk, known.extended, key.legend) if known else (key.vk, key.extended, key.legend)
