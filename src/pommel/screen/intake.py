"""What one viewer's input commands mean. Band: core, no I/O.

Input is a log: each command gives its actions in order, and no key, button or notch is dropped, merged or
reordered. The exceptions are the wire's own: the double-click mark (0x88) only repeats what the clicks beside it
said, KeyUnicode's release says nothing new, and a release of a key that another viewer holds is not passed on (`hold`).
"""

from __future__ import annotations

from pommel.screen.actions import LEFT, MIDDLE, RIGHT, Action, PressKey, TurnWheel, TypeText
from pommel.screen.hold import Hold
from pommel.screen.scaling import Scaling
from pommel.wire import messages as wire
from pommel.wire.keymap import legend_of

NOTCH = 120  # one notch of a wheel, as Windows and browsers count
MESHCENTRAL_NOTCH = 360  # MeshCentral's page sends three times that

_BUTTONS = (
    (wire.LEFT_DOWN, LEFT, True),
    (wire.LEFT_UP, LEFT, False),
    (wire.RIGHT_DOWN, RIGHT, True),
    (wire.RIGHT_UP, RIGHT, False),
    (wire.MIDDLE_DOWN, MIDDLE, True),
    (wire.MIDDLE_UP, MIDDLE, False),
)
_CTRL_ALT_DEL = (0x11, 0x12, 0x2E)
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Intake:
    """One viewer's hands. `hold` is shared by all viewers of the machine."""

    def __init__(self, hold: Hold, *, wheel_notch: int = NOTCH) -> None:
        self._hold = hold
        self._notch = wheel_notch
        self._turned = 0
        self.by_legend = (
            False  # a key that types is named by what is printed on the viewer's, as MeshCentral's page does
        )
        self._high = 0  # a high surrogate that waits for its other half

    def actions(self, command: wire.Command, announced: Scaling) -> list[Action]:
        """Return what `command` asks for; places are in the picture last `announced` to this viewer."""
        match command:
            case wire.Key(vk, down, extended):
                return self._key(PressKey(vk, extended, down, self.by_legend and legend_of(vk) != ""))
            case wire.KeyUnicode(unit, True):
                return self._unicode(unit)
            case wire.Mouse(x, y, button):
                return self._mouse(*announced.to_frame(x, y), button)
            case wire.MouseWheel(x, y, delta):
                return self._wheel(*announced.to_frame(x, y), delta)
            case wire.CtrlAltDel():
                keys = [PressKey(vk, vk == 0x2E, True) for vk in _CTRL_ALT_DEL]
                keys += [PressKey(vk, vk == 0x2E, False) for vk in reversed(_CTRL_ALT_DEL)]
                return [action for key in keys for action in self._key(key)]
        return []

    def leave(self) -> list[Action]:
        """Return what lets go of everything this viewer holds."""
        return self._hold.leave(self)

    def _key(self, key: PressKey) -> list[Action]:
        return [key] if self._hold.press(self, key) else []

    def _mouse(self, x: int, y: int, button: int) -> list[Action]:
        if button == wire.DOUBLE_CLICK:
            return []
        mask = self._hold.buttons_of(self)
        actions: list[Action] = []
        for bit, which, down in _BUTTONS:
            if button & bit:
                mask = mask | which if down else mask & ~which
                actions.append(self._hold.point(self, x, y, mask))
        return actions or [self._hold.point(self, x, y, mask)]

    def _wheel(self, x: int, y: int, delta: int) -> list[Action]:
        if self._turned * delta < 0:  # turned back: what was left of the other way is void
            self._turned = 0
        self._turned += delta
        notches = abs(self._turned) // self._notch * (1 if self._turned > 0 else -1)
        self._turned -= notches * self._notch
        at = self._hold.point(self, x, y, self._hold.buttons_of(self))
        return [TurnWheel(x, y, at.buttons, notches)] if notches else []

    def _unicode(self, unit: int) -> list[Action]:
        high, self._high = self._high, 0
        before = [TypeText(_REPLACEMENT)] if high and not 0xDC00 <= unit < 0xE000 else []
        if 0xD800 <= unit < 0xDC00:
            self._high = unit
            return [*before]
        if 0xDC00 <= unit < 0xE000:
            whole = 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00)
            return [TypeText(chr(whole) if high else _REPLACEMENT)]
        return [*before, TypeText(chr(unit))]
