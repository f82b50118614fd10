"""When a machine is as far as somebody waits for, decided from what can be seen of it. Band: app; pure.

This is the one place that says what *desktop* means. Known: its guest lets us in over SSH and says that a desktop or a
login window is there. Inferred, where SSH tells nothing: the screen shows a picture in many colours, which stands
still, while a system in the guest reads the machine's USB pointer, which neither firmware nor OpenCore's picker does.
Where there is no such pointer, the picture must have changed before, and stand still for longer.

A Mac without macOS has no desktop: there the installer's picture is waited for, which may be the boot picker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pommel.app.guest_answer import SILENCE, Answer, Desktop, Heard
from pommel.screen.sights import Showing, Sight

_KNOWN_STILL_S = 1.5  # the guest knows of its windows a moment before they are drawn
_KNOWN_S = 5.0  # long enough for that, though something moves on the screen
_DRIVEN_STILL_S = 10.0
_UNKNOWN_STILL_S = 20.0  # longer than firmware's logo, and than a picker's countdown
_INSTALLER_STILL_S = 4.0


class Until(StrEnum):
    """What somebody waits for."""

    SCREEN = "screen"
    SSH = "ssh"
    DESKTOP = "desktop"


@dataclass(frozen=True, slots=True)
class Signs:
    """What is known of a machine at one moment.

    `still_s` is how long its screen has stood still, `changed` whether it showed something else before, `driven`
    whether a system reads its USB pointer (None: it has none), `told_s` how long its guest has said the same.
    """

    sight: Sight | None = None
    still_s: float = 0.0
    changed: bool = False
    driven: bool | None = None
    heard: Heard = SILENCE
    told_s: float = 0.0

    def __str__(self) -> str:
        screen = f"its screen {self.sight}" if self.sight else "its screen cannot be seen"
        if self.sight is not None and self.still_s >= _UNKNOWN_STILL_S:
            screen += f" that has not changed for {self.still_s:.0f} s" if self.sight.kind is not Showing.BLANK else ""
        told = f": {self.heard.text}" if self.heard.text else ""
        ssh = {
            Answer.SILENT: "it does not answer SSH" + told,
            Answer.REFUSES: "it answers SSH but refuses the login" + told,
            Answer.LETS_IN: "it answers SSH" + told,
            Answer.NO_WAY: "it cannot be asked over SSH" + told,
        }[self.heard.answer]
        return f"{screen}, {ssh}"


@dataclass(frozen=True, slots=True)
class Case:
    """What kind of machine it is: `says` that its guest tells of its desktop, `installer` that it has nothing else."""

    until: Until
    says: bool = False
    installer: bool = False
    patient: bool = True  # False: a picture that stands still ends the wait, since it may want a key


@dataclass(frozen=True, slots=True)
class DesktopVerdict:
    """The wait is over: what was seen, and whether that is known or inferred. `short`: less than was asked for."""

    seen: str
    known: bool = True
    short: bool = False


def judge(signs: Signs, case: Case) -> DesktopVerdict | None:
    """Whether the wait is over; None: not yet."""
    match case.until:
        case Until.SCREEN:
            return DesktopVerdict(f"its screen {signs.sight}") if signs.sight and _visible(signs) else None
        case Until.SSH:
            return _ssh(signs.heard)
        case Until.DESKTOP:
            return _told(signs) or (None if _will_tell(signs, case) else _inferred(signs, case))


def _ssh(heard: Heard) -> DesktopVerdict | None:
    match heard.answer:
        case Answer.LETS_IN:
            return DesktopVerdict("it answers SSH")
        case Answer.REFUSES:
            return DesktopVerdict(f"it answers SSH but refuses the login: {heard.text}")
        case _:
            return None


def _told(signs: Signs) -> DesktopVerdict | None:
    visible = signs.sight is None or _visible(signs)  # one without a display that QEMU has is taken at its word
    if signs.heard.desktop is Desktop.NONE and visible:
        return DesktopVerdict(f"it has no desktop: {signs.heard.text}", short=True)
    at_rest = min(signs.still_s, signs.told_s) >= _KNOWN_STILL_S
    drawn = signs.sight is None or at_rest or signs.told_s >= _KNOWN_S
    return DesktopVerdict(signs.heard.text) if signs.heard.desktop is Desktop.THERE and visible and drawn else None


def _will_tell(signs: Signs, case: Case) -> bool:
    """Whether its guest will say so itself, so that nothing has to be inferred."""
    if signs.heard.answer in (Answer.REFUSES, Answer.NO_WAY):
        return False
    return case.says or signs.heard.desktop in (Desktop.COMING, Desktop.THERE, Desktop.NONE)


def _inferred(signs: Signs, case: Case) -> DesktopVerdict | None:
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


def _visible(signs: Signs) -> bool:
    return signs.sight is not None and signs.sight.kind is not Showing.BLANK
