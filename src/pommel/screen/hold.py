"""Who holds which key and button down. Band: core, no I/O.

A key is down for the machine as long as any viewer holds it. That is why a viewer may let go of a key and nothing
happens: MeshCentral's page releases all modifiers after each Screen, which must not cut short another
viewer's Shift. Letting go of a key that nobody holds is passed on: it does no harm, and frees one that got stuck.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pommel.screen.actions import Action, MoveBy, MovePointer, PressKey
from pommel.wire.keymap import find_key

KeyId = tuple[int, bool, bool]


@dataclass(slots=True)
class Hold:
    """What the hands of all viewers hold. A holder is any hashable that stands for one viewer."""

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
        """Note a key going down or up; False if the machine is not to hear of it."""
        name = _name(key)
        held = self._keys.setdefault(holder, set())
        if key.down:
            held.add(name)
            return True
        held.discard(name)
        return not any(name in others for others in self._keys.values())

    def point(self, holder: object, x: int, y: int, buttons: int) -> MovePointer:
        """Note where a viewer points and which buttons it has down, and return what the machine is to hear."""
        self.x, self.y = x, y
        self._buttons[holder] = buttons
        return MovePointer(x, y, self.buttons)

    def move_by(self, holder: object, right: int, down: int, buttons: int) -> MoveBy:
        """As `point`, of a viewer that says how far it moved."""
        self._buttons[holder] = buttons
        return MoveBy(right, down, self.buttons)

    def buttons_of(self, holder: object) -> int:
        """The buttons this viewer has down."""
        return self._buttons.get(holder, 0)

    def leave(self, holder: object) -> list[Action]:
        """Forget a viewer, and return what lets go of all that nobody else holds."""
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
    # Left Shift is 10 to some viewers and A0 to others.
    known = find_key(key.vk, key.extended)
    return (known.vk, known.extended, key.legend) if known else (key.vk, key.extended, key.legend)
