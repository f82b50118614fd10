"""The rights of users on a desktop. Band: core, no I/O.

The server says what a user may do, and the agent must enforce it: the relay passes on everything that a viewer sends.
The bits are MeshCentral's; 0xFFFFFFFF means all rights, whatever its single bits mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from pommel.wire import messages as wire

FULL = 0xFFFFFFFF
REMOTE_CONTROL, CONSOLE, VIEW_ONLY = 0x8, 0x10, 0x100
NO_FILES, LIMITED_INPUT, NOTIFY, NO_DESKTOP = 0x400, 0x1000, 0x4000, 0x10000
# Consent, for desktops; and for files.
CONSENT_NOTIFY, CONSENT_PROMPT, CONSENT_BAR = 0x1, 0x8, 0x40
CONSENT_NOTIFY_FILES, CONSENT_PROMPT_FILES = 0x4, 0x20

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
        """May they use keyboard and mouse?"""
        return self.desktop and (self._has_all or self.bits & (REMOTE_CONTROL | VIEW_ONLY) == REMOTE_CONTROL)

    @property
    def files(self) -> bool:
        """May they use the device's files?"""
        return self._has_all or (bool(self.bits & REMOTE_CONTROL) and not self.bits & NO_FILES)

    @property
    def limited(self) -> bool:
        """Is their input limited to letters, digits and little else?"""
        return not self._has_all and bool(self.bits & LIMITED_INPUT)

    @property
    def console(self) -> bool:
        """May they give commands?"""
        return self._has_all or self.bits & (REMOTE_CONTROL | CONSOLE) == REMOTE_CONTROL | CONSOLE

    @property
    def notify(self) -> bool:
        """May they send messages to the person at the machine?"""
        return self._has_all or bool(self.bits & (REMOTE_CONTROL | NOTIFY))

    @property
    def others(self) -> bool:
        """May they end other people's sessions?"""
        return self._has_all

    @property
    def _has_all(self) -> bool:
        return self.bits == FULL


def is_within_limits(command: wire.Command) -> bool:
    """Whether a user with limited input may send `command`: the rule of MeshCentral's own page.

    Allowed are the mouse, printable characters, the keys of letters, digits and places, Backspace and Return. Modifiers
    are not, so that nothing can be done with Ctrl, Alt or Command; commands that are not input are always allowed.
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
