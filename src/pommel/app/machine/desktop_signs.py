"""Decide from the signs of a machine whether a wait is over. Band: app; pure.

This is the only place that defines *desktop*. It is known if the guest says over SSH that there is a desktop or a
login window. Without SSH it is inferred: the screen shows a picture in many colours that does not change, while a
system in the guest reads the machine's USB pointer. Neither the firmware nor OpenCore's picker reads that pointer.
Without a USB pointer, the picture must have changed before, and then be still for longer.

A Mac without macOS has no desktop: its wait ends at the installer's picture, which may be the boot picker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pommel.app.guest.answer import SILENCE, GuestAnswer, GuestDesktop, SshOutcome
from pommel.screen.sights import Showing, Sight

_KNOWN_STILL_S = 1.5  # the guest reports its windows a moment before they are drawn
_KNOWN_S = 5.0  # the windows are drawn by then, even if something keeps moving on the screen
_DRIVEN_STILL_S = 10.0
_UNKNOWN_STILL_S = 20.0  # longer than the firmware shows its logo, and than a picker's countdown
_INSTALLER_STILL_S = 4.0


class Until(StrEnum):
    """The goal of a wait."""

    SCREEN = "screen"
    SSH = "ssh"
    DESKTOP = "desktop"


@dataclass(frozen=True, slots=True)
class DesktopSigns:
    """The signs of a machine at one moment.

    `still_s`: seconds without a change of the screen; `changed`: it showed something else before; `driven`: a system
    reads its USB pointer (None: it has none); `told_s`: seconds since the guest's answer last changed.
    """

    sight: Sight | None = None
    still_s: float = 0.0
    changed: bool = False
    driven: bool | None = None
    heard: GuestAnswer = SILENCE
    told_s: float = 0.0

    def __str__(self) -> str:
        screen = f"its screen {self.sight}" if self.sight else "its screen cannot be seen"
        if self.sight is not None and self.still_s >= _UNKNOWN_STILL_S:
            screen += f" that has not changed for {self.still_s:.0f} s" if self.sight.kind is not Showing.BLANK else ""
        told = f": {self.heard.text}" if self.heard.text else ""
        ssh = {
            SshOutcome.SILENT: "it does not answer SSH" + told,
            SshOutcome.REFUSES: "it answers SSH but refuses the login" + told,
            SshOutcome.LETS_IN: "it answers SSH" + told,
            SshOutcome.NO_WAY: "it cannot be asked over SSH" + told,
        }[self.heard.answer]
        return f"{screen}, {ssh}"


@dataclass(frozen=True, slots=True)
class Case:
    """The kind of wait. `says`: the guest reports its desktop. `installer`: the machine has only an installer."""

    until: Until
    says: bool = False
    installer: bool = False
    patient: bool = True  # False: any still picture ends the wait, because it may be a prompt for a key


@dataclass(frozen=True, slots=True)
class DesktopVerdict:
    """The end of a wait: what was seen, and whether it is known or inferred. `short`: less than the goal."""

    seen: str
    known: bool = True
    short: bool = False


def judge(signs: DesktopSigns, case: Case) -> DesktopVerdict | None:
    """The verdict if the wait is over; None: not yet."""
    match case.until:
        case Until.SCREEN:
            return DesktopVerdict(f"its screen {signs.sight}") if signs.sight and _visible(signs) else None
        case Until.SSH:
            return _ssh(signs.heard)
        case Until.DESKTOP:
            return _verdict(signs) or (None if _will_tell(signs, case) else _inferred(signs, case))


def _ssh(heard: GuestAnswer) -> DesktopVerdict | None:
    match heard.answer:
        case SshOutcome.LETS_IN:
            return DesktopVerdict("it answers SSH")
        case SshOutcome.REFUSES:
            return DesktopVerdict(f"it answers SSH but refuses the login: {heard.text}")
        case _:
            return None


def _verdict(signs: DesktopSigns) -> DesktopVerdict | None:
    visible = signs.sight is None or _visible(signs)  # without a display of QEMU, the guest's answer is enough
    if signs.heard.desktop is GuestDesktop.NONE and visible:
        return DesktopVerdict(f"it has no desktop: {signs.heard.text}", short=True)
    at_rest = min(signs.still_s, signs.told_s) >= _KNOWN_STILL_S
    drawn = signs.sight is None or at_rest or signs.told_s >= _KNOWN_S
    return DesktopVerdict(signs.heard.text) if signs.heard.desktop is GuestDesktop.THERE and visible and drawn else None


def _will_tell(signs: DesktopSigns, case: Case) -> bool:
    """Whether the guest will report its desktop, so that nothing has to be inferred."""
    if signs.heard.answer in (SshOutcome.REFUSES, SshOutcome.NO_WAY):
        return False
    return case.says or signs.heard.desktop in (GuestDesktop.COMING, GuestDesktop.THERE, GuestDesktop.NONE)


def _inferred(signs: DesktopSigns, case: Case) -> DesktopVerdict | None:
    if signs.sight is None or not _visible(signs):
        return None
    if case.installer:
        still = signs.still_s >= (_INSTALLER_STILL_S if signs.changed else _UNKNOWN_STILL_S)
        seen = f"its installer or boot picker is shown: the screen {signs.sight} and waits"
        return DesktopVerdict(seen, known=False) if still else None
    picture = signs.sight.kind is Showing.PICTURE
    if picture and signs.driven and signs.still_s >= _DRIVEN_STILL_S:
        return DesktopVerdict(
            "its screen shows a picture that does not change, and its system reads the pointer", known=False
        )
    if signs.still_s < _UNKNOWN_STILL_S:
        return None
    if picture and signs.driven is None:
        seen = "its screen shows a picture that does not change"
        untold = "" if signs.changed else ", and it is unknown whether this is its desktop"
        return DesktopVerdict(seen + untold, known=False, short=not signs.changed)
    if case.patient or signs.driven:
        return None
    seen = f"its screen {signs.sight} and does not change: it may be a boot picker that waits for a key"
    return DesktopVerdict(seen, known=False, short=True)


def _visible(signs: DesktopSigns) -> bool:
    return signs.sight is not None and signs.sight.kind is not Showing.BLANK
