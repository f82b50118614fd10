"""What ends a wait, by what is seen of a machine."""

from __future__ import annotations

import pytest

from pommel.app.guest.answer import GuestAnswer, GuestDesktop, SshOutcome
from pommel.app.machine.desktop_signs import Case, DesktopSigns, Until, judge
from pommel.screen.geometry import Size
from pommel.screen.sights import Showing, Sight

BLANK, TEXT, PICTURE = (Sight(kind, Size(1280, 800), b"") for kind in Showing)
DESKTOP, TRIAL = Case(Until.DESKTOP), Case(Until.DESKTOP, says=True)
INSTALLER = Case(Until.DESKTOP, installer=True)
UP = Case(Until.DESKTOP, patient=False)


def heard(desktop: GuestDesktop | None, text: str = "it says so") -> GuestAnswer:
    return GuestAnswer(SshOutcome.LETS_IN, text, desktop)


REFUSED, NO_WAY = GuestAnswer(SshOutcome.REFUSES, "no key"), GuestAnswer(SshOutcome.NO_WAY, "no network")
THERE, COMING = heard(GuestDesktop.THERE), heard(GuestDesktop.COMING)


@pytest.mark.parametrize(
    ("case", "signs"),
    [
        (Case(Until.SCREEN), DesktopSigns()),
        (Case(Until.SCREEN), DesktopSigns(BLANK)),
        (Case(Until.SSH), DesktopSigns(PICTURE, 100, True, True)),
        # firmware's logo, a boot picker, a console: in the trial machine's boot, by its own word
        (TRIAL, DesktopSigns(PICTURE, 5, False, False)),
        (TRIAL, DesktopSigns(TEXT, 200, True, False)),
        (TRIAL, DesktopSigns(PICTURE, 200, True, True)),
        (TRIAL, DesktopSigns(PICTURE, 200, True, True, COMING, 100)),
        (TRIAL, DesktopSigns(BLANK, 200, True, True, THERE, 100)),
        (TRIAL, DesktopSigns(PICTURE, 0.2, True, True, THERE, 3)),
        (TRIAL, DesktopSigns(PICTURE, 3, True, True, THERE, 0.2)),
        # inferred elsewhere
        (DESKTOP, DesktopSigns(PICTURE, 200, True, False)),
        (DESKTOP, DesktopSigns(TEXT, 200, True, True)),
        (DESKTOP, DesktopSigns(PICTURE, 5, True, True)),
        (DESKTOP, DesktopSigns(PICTURE, 15, True, None)),
        (DESKTOP, DesktopSigns(PICTURE, 200, True, True, COMING, 100)),
        (DESKTOP, DesktopSigns(None, 0, False, True, COMING)),
        (UP, DesktopSigns(TEXT, 15, True, False)),
        (UP, DesktopSigns(BLANK, 200, True, False)),
        (UP, DesktopSigns(TEXT, 200, True, True)),
        (INSTALLER, DesktopSigns(BLANK, 200)),
        (INSTALLER, DesktopSigns(TEXT, 10, False)),
        (INSTALLER, DesktopSigns(PICTURE, 2, True)),
    ],
)
def test_not_yet(case: Case, signs: DesktopSigns) -> None:
    assert judge(signs, case) is None


@pytest.mark.parametrize(
    ("case", "signs", "known", "short", "seen"),
    [
        (Case(Until.SCREEN), DesktopSigns(TEXT), True, False, "its screen shows text (1280×800)"),
        (Case(Until.SSH), DesktopSigns(heard=heard(None)), True, False, "it answers SSH"),
        (Case(Until.SSH), DesktopSigns(heard=REFUSED), True, False, "it answers SSH but refuses the login: no key"),
        (TRIAL, DesktopSigns(PICTURE, 2, True, True, THERE, 2), True, False, "it says so"),
        (TRIAL, DesktopSigns(PICTURE, 0, True, True, THERE, 6), True, False, "it says so"),  # something moves on it
        (DESKTOP, DesktopSigns(None, heard=THERE), True, False, "it says so"),  # its display is no QEMU's
        (DESKTOP, DesktopSigns(TEXT, heard=heard(GuestDesktop.NONE)), True, True, "it has no desktop: it says so"),
        (DESKTOP, DesktopSigns(PICTURE, 11, False, True), False, False, "its system reads the pointer"),
        (TRIAL, DesktopSigns(PICTURE, 11, False, True, REFUSED), False, False, "its system reads the pointer"),
        (TRIAL, DesktopSigns(PICTURE, 11, False, True, NO_WAY), False, False, "its system reads the pointer"),
        (DESKTOP, DesktopSigns(PICTURE, 11, True, True, heard(GuestDesktop.UNKNOWN)), False, False, "its system reads"),
        (DESKTOP, DesktopSigns(PICTURE, 21, True, None), False, False, "a picture that does not change"),
        (DESKTOP, DesktopSigns(PICTURE, 21, False, None), False, True, "it is unknown whether this is its desktop"),
        (UP, DesktopSigns(PICTURE, 21, True, False), False, True, "it may be a boot picker"),
        (UP, DesktopSigns(TEXT, 21, False, False), False, True, "it may be a boot picker"),
        (INSTALLER, DesktopSigns(TEXT, 5, True, False), False, False, "its installer or boot picker is shown"),
        (INSTALLER, DesktopSigns(PICTURE, 21, False, False), False, False, "its installer or boot picker is shown"),
    ],
)
def test_so_far(case: Case, signs: DesktopSigns, known: bool, short: bool, seen: str) -> None:
    found = judge(signs, case)
    assert found is not None and seen in found.seen
    assert (found.known, found.short) == (known, short)


def test_what_was_seen_last_is_told_in_words() -> None:
    assert str(DesktopSigns()) == "its screen cannot be seen, it does not answer SSH"
    assert str(DesktopSigns(TEXT, 30, heard=GuestAnswer(SshOutcome.SILENT, "timed out"))) == (
        "its screen shows text (1280×800) that has not changed for 30 s, it does not answer SSH: timed out"
    )
    assert "cannot be asked over SSH: no network" in str(DesktopSigns(BLANK, 30, heard=NO_WAY))
