"""What ends a wait, by what is seen of a machine."""

from __future__ import annotations

import pytest

from pommel.app.desktop_signs import Case, Signs, Until, judge
from pommel.app.guest_answer import Answer, Desktop, Heard
from pommel.screen.geometry import Size
from pommel.screen.sights import Showing, Sight

BLANK, TEXT, PICTURE = (Sight(kind, Size(1280, 800), b"") for kind in Showing)
DESKTOP, TRIAL = Case(Until.DESKTOP), Case(Until.DESKTOP, says=True)
INSTALLER = Case(Until.DESKTOP, installer=True)
UP = Case(Until.DESKTOP, patient=False)


def heard(desktop: Desktop | None, text: str = "it says so") -> Heard:
    return Heard(Answer.LETS_IN, text, desktop)


REFUSED, NO_WAY = Heard(Answer.REFUSES, "no key"), Heard(Answer.NO_WAY, "no network")
THERE, COMING = heard(Desktop.THERE), heard(Desktop.COMING)


@pytest.mark.parametrize(
    ("case", "signs"),
    [
        (Case(Until.SCREEN), Signs()),
        (Case(Until.SCREEN), Signs(BLANK)),
        (Case(Until.SSH), Signs(PICTURE, 100, True, True)),
        # firmware's logo, a boot picker, a console: in the trial machine's boot, by its own word
        (TRIAL, Signs(PICTURE, 5, False, False)),
        (TRIAL, Signs(TEXT, 200, True, False)),
        (TRIAL, Signs(PICTURE, 200, True, True)),
        (TRIAL, Signs(PICTURE, 200, True, True, COMING, 100)),
        (TRIAL, Signs(BLANK, 200, True, True, THERE, 100)),
        (TRIAL, Signs(PICTURE, 0.2, True, True, THERE, 3)),
        (TRIAL, Signs(PICTURE, 3, True, True, THERE, 0.2)),
        # inferred elsewhere
        (DESKTOP, Signs(PICTURE, 200, True, False)),
        (DESKTOP, Signs(TEXT, 200, True, True)),
        (DESKTOP, Signs(PICTURE, 5, True, True)),
        (DESKTOP, Signs(PICTURE, 15, True, None)),
        (DESKTOP, Signs(PICTURE, 200, True, True, COMING, 100)),
        (DESKTOP, Signs(None, 0, False, True, COMING)),
        (UP, Signs(TEXT, 15, True, False)),
        (UP, Signs(BLANK, 200, True, False)),
        (UP, Signs(TEXT, 200, True, True)),
        (INSTALLER, Signs(BLANK, 200)),
        (INSTALLER, Signs(TEXT, 10, False)),
        (INSTALLER, Signs(PICTURE, 2, True)),
    ],
)
def test_not_yet(case: Case, signs: Signs) -> None:
    assert judge(signs, case) is None


@pytest.mark.parametrize(
    ("case", "signs", "known", "short", "seen"),
    [
        (Case(Until.SCREEN), Signs(TEXT), True, False, "its screen shows text (1280×800)"),
        (Case(Until.SSH), Signs(heard=heard(None)), True, False, "it answers SSH"),
        (Case(Until.SSH), Signs(heard=REFUSED), True, False, "it answers SSH but refuses the login: no key"),
        (TRIAL, Signs(PICTURE, 2, True, True, THERE, 2), True, False, "it says so"),
        (TRIAL, Signs(PICTURE, 0, True, True, THERE, 6), True, False, "it says so"),  # something moves on it
        (DESKTOP, Signs(None, heard=THERE), True, False, "it says so"),  # its display is no QEMU's
        (DESKTOP, Signs(TEXT, heard=heard(Desktop.NONE)), True, True, "it has no desktop: it says so"),
        (DESKTOP, Signs(PICTURE, 11, False, True), False, False, "its system reads the pointer"),
        (TRIAL, Signs(PICTURE, 11, False, True, REFUSED), False, False, "its system reads the pointer"),
        (TRIAL, Signs(PICTURE, 11, False, True, NO_WAY), False, False, "its system reads the pointer"),
        (DESKTOP, Signs(PICTURE, 11, True, True, heard(Desktop.UNKNOWN)), False, False, "its system reads"),
        (DESKTOP, Signs(PICTURE, 21, True, None), False, False, "a picture that does not change"),
        (DESKTOP, Signs(PICTURE, 21, False, None), False, True, "it is unknown whether this is its desktop"),
        (UP, Signs(PICTURE, 21, True, False), False, True, "it may be a boot picker"),
        (UP, Signs(TEXT, 21, False, False), False, True, "it may be a boot picker"),
        (INSTALLER, Signs(TEXT, 5, True, False), False, False, "its installer or boot picker is shown"),
        (INSTALLER, Signs(PICTURE, 21, False, False), False, False, "its installer or boot picker is shown"),
    ],
)
def test_so_far(case: Case, signs: Signs, known: bool, short: bool, seen: str) -> None:
    found = judge(signs, case)
    assert found is not None and seen in found.seen
    assert (found.known, found.short) == (known, short)


def test_what_was_seen_last_is_told_in_words() -> None:
    assert str(Signs()) == "its screen cannot be seen, it does not answer SSH"
    assert str(Signs(TEXT, 30, heard=Heard(Answer.SILENT, "timed out"))) == (
        "its screen shows text (1280×800) that has not changed for 30 s, it does not answer SSH: timed out"
    )
    assert "cannot be asked over SSH: no network" in str(Signs(BLANK, 30, heard=NO_WAY))
