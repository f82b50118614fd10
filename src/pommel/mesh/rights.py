"""Who may do what on a desktop. Band: core, no I/O.

The server tells what a user may do and leaves it to the agent to hold them to it: its relay passes on whatever a viewer
sends. The bits are MeshCentral's; 0xFFFFFFFF is everything, whatever the bits would mean one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

from pommel.wire import messages as wire

FULL = 0xFFFFFFFF
REMOTE_CONTROL, CONSOLE, VIEW_ONLY = 0x8, 0x10, 0x100
LIMITED_INPUT, NOTIFY, NO_DESKTOP = 0x1000, 0x4000, 0x10000
# Consent, for desktops.
CONSENT_NOTIFY, CONSENT_PROMPT, CONSENT_BAR = 0x1, 0x8, 0x40

_BACKSPACE, _RETURN, _FIRST_VK, _LAST_VK = 8, 13, 32, 90


@dataclass(frozen=True, slots=True)
class Rights:
    """A user's rights to a device."""

    bits: int

    @property
    def desktop(self) -> bool:
        """May they see the desktop?"""
        return self._has_all or (bool(self.bits & (REMOTE_CONTROL | VIEW_ONLY)) and not self.bits & NO_DESKTOP)

    @property
    def control(self) -> bool:
        """May they lay hands on it?"""
        return self.desktop and (self._has_all or self.bits & (REMOTE_CONTROL | VIEW_ONLY) == REMOTE_CONTROL)

    @property
    def limited(self) -> bool:
        """Are their hands tied: letters, digits and little else?"""
        return not self._has_all and bool(self.bits & LIMITED_INPUT)

    @property
    def console(self) -> bool:
        """May they give commands?"""
        return self._has_all or self.bits & (REMOTE_CONTROL | CONSOLE) == REMOTE_CONTROL | CONSOLE

    @property
    def notify(self) -> bool:
        """May they speak to who is at the machine?"""
        return self._has_all or bool(self.bits & (REMOTE_CONTROL | NOTIFY))

    @property
    def others(self) -> bool:
        """May they end other people's sessions?"""
        return self._has_all

    @property
    def _has_all(self) -> bool:
        return self.bits == FULL


def is_within_limits(command: wire.Command) -> bool:
    """Tell whether someone with limited input may send `command`: the rule of MeshCentral's own page.

    The mouse, printable characters, the keys of letters, digits and places, Backspace and Return. Not the modifiers, so
    that nothing can be done with Ctrl, Alt or Command; what is no input at all is nobody's concern here.
    """
    match command:
        case wire.Key(vk):
            return vk in (_BACKSPACE, _RETURN) or _FIRST_VK <= vk <= _LAST_VK
        case wire.KeyUnicode(unit):
            return unit in (_BACKSPACE, _RETURN) or (unit >= _FIRST_VK and unit != 0x7F)
        case wire.CtrlAltDel() | wire.Touch() | wire.MultiTouch():
            return False
        case wire.InputLock(state):
            return state == wire.QUERY_LOCK
    return True
