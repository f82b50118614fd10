"""Turns one viewer's input commands into actions. Band: core, no I/O.

Each command gives its actions in order. No key, button or step of a wheel is dropped, merged or reordered; only turns
of a wheel above `TURN_MOST` are cut, because no real wheel makes them. The exceptions come from the protocol: the
double-click mark (0x88) only repeats the clicks beside it, the release of a KeyUnicode has no effect, and the release
of a key that another viewer holds is not passed on (`hold`).
"""

from __future__ import annotations

from pommel.screen.actions import BACK, FORWARD, LEFT, MIDDLE, RIGHT, Action, PressKey, TurnWheel, TypeText
from pommel.screen.hold import Hold
from pommel.screen.scaling import Scaling
from pommel.wire import messages as wire
from pommel.wire import mouse
from pommel.wire.keymap import legend_of
from pommel.wire.mouse import NOTCH, TURN_MOST

MESHCENTRAL_NOTCH = 360  # MeshCentral's page sends three times the usual 120

_BUTTONS = (
    (wire.LEFT_DOWN, LEFT, True),
    (wire.LEFT_UP, LEFT, False),
    (wire.RIGHT_DOWN, RIGHT, True),
    (wire.RIGHT_UP, RIGHT, False),
    (wire.MIDDLE_DOWN, MIDDLE, True),
    (wire.MIDDLE_UP, MIDDLE, False),
)
_SIDES = {mouse.BACK: BACK, mouse.FORWARD: FORWARD}
_CTRL_ALT_DEL = (0x11, 0x12, 0x2E)
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Intake:
    """One viewer's input. `hold` is shared by all viewers of the machine."""

    def __init__(self, hold: Hold, *, wheel_notch: int = NOTCH) -> None:
        self._hold = hold
        self._notch = wheel_notch
        self._turned = 0  # the rest of MouseWheel that is less than a step
        # The viewer names a typing key by the character printed on it, as MeshCentral's page does.
        self.by_legend = False
        self._high = 0  # a high surrogate (UTF-16) that waits for its low surrogate

    def actions(self, command: wire.Command, announced: Scaling) -> list[Action]:
        """The actions of `command`; its positions are in the picture that was last `announced` to this viewer."""
        match command:
            case wire.Key(vk, down, extended):
                return self._key(PressKey(vk, extended, down, self.by_legend and legend_of(vk) != ""))
            case wire.KeyUnicode(unit, True):
                return self._unicode(unit)
            case wire.Mouse(x, y, button):
                return self._mouse(*announced.to_frame(x, y), button)
            case wire.MouseWheel(x, y, delta):
                return self._wheel(*announced.to_frame(x, y), delta)
            case wire.Turn(x, y, up, right):
                return self._turn(*announced.to_frame(x, y), up, right)
            case wire.SideButton(x, y, button, down) if button in _SIDES:
                return self._side(*announced.to_frame(x, y), _SIDES[button], down)
            case wire.MoveBy(right, down, button):
                return self._move_by(right, down, button)
            case wire.CtrlAltDel():
                keys = [PressKey(vk, vk == 0x2E, True) for vk in _CTRL_ALT_DEL]
                keys += [PressKey(vk, vk == 0x2E, False) for vk in reversed(_CTRL_ALT_DEL)]
                return [action for key in keys for action in self._key(key)]
        return []

    def leave(self) -> list[Action]:
        """The releases of all keys and buttons that this viewer holds."""
        return self._hold.leave(self)

    def _key(self, key: PressKey) -> list[Action]:
        return [key] if self._hold.press(self, key) else []

    def _mouse(self, x: int, y: int, button: int) -> list[Action]:
        if button == wire.DOUBLE_CLICK:
            return []
        return [self._hold.point(self, x, y, mask) for mask in self._masks(button)]

    def _masks(self, button: int) -> list[int]:
        """The pressed buttons after each change in a button byte, in order; the present ones if it has no change."""
        mask, masks = self._hold.buttons_of(self), list[int]()
        for bit, which, down in _BUTTONS:
            if button & bit:
                mask = mask | which if down else mask & ~which
                masks.append(mask)
        return masks or [mask]

    def _side(self, x: int, y: int, which: int, down: bool) -> list[Action]:
        mask = self._hold.buttons_of(self)
        return [self._hold.point(self, x, y, mask | which if down else mask & ~which)]

    def _move_by(self, right: int, down: int, button: int) -> list[Action]:
        first, *others = self._masks(0 if button == wire.DOUBLE_CLICK else button)
        moved: list[Action] = [self._hold.move_by(self, right, down, first)]
        return moved + [self._hold.move_by(self, 0, 0, mask) for mask in others]

    def _wheel(self, x: int, y: int, delta: int) -> list[Action]:
        self._turned += delta * NOTCH
        steps = abs(self._turned) // self._notch * (1 if self._turned > 0 else -1)
        self._turned -= steps * self._notch
        return self._turn(x, y, steps, 0)

    def _turn(self, x: int, y: int, up: int, right: int) -> list[Action]:
        up, right = (min(max(steps, -TURN_MOST), TURN_MOST) for steps in (up, right))
        at = self._hold.point(self, x, y, self._hold.buttons_of(self))
        return [TurnWheel(x, y, at.buttons, up, right)] if up or right else []

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
