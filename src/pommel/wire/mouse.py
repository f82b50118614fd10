"""What Pommel's page says of a mouse beyond MeshCentral's `Mouse` and `MouseWheel`. Band: core, no I/O.

The page sends these only after a `MouseKind`, and an endpoint sends that only to a viewer that says ASKS_OF_MOUSE: so
an endpoint or a page of another age, and MeshCentral's, get what they know.

A wheel is counted in steps: 120 of them are one notch, as Windows, Linux and browsers count. Parts of a notch travel as
they are. Who has a wheel with notches only keeps what is left of each turn for the next, in both directions: what is
turned in all is what arrives, to less than a notch.
"""

from __future__ import annotations

from dataclasses import dataclass

NOTCH = 120
TURN_MOST = 40 * NOTCH  # an endpoint takes no more of one command: a hostile one must not scroll for minutes

# MouseKind.bits
HAS_SIDES, RELATIVE = 1, 2

# SideButton.button
BACK, FORWARD = 0, 1


@dataclass(frozen=True, slots=True)
class MouseKind:
    """204: what the machine's mouse is.

    HAS_SIDES: it may have buttons for back and forward. RELATIVE: it knows only how far it was moved, so the machine's
    pointer may be elsewhere than the viewer's; `MoveBy` is right for it.
    """

    bits: int


@dataclass(frozen=True, slots=True)
class Turn:
    """205: the wheel turned at x, y by steps of 1/120 notch: `up` is away from the user, `right` to the right.

    -32768..32767 each; of which TURN_MOST in either direction is taken.
    """

    x: int
    y: int
    up: int
    right: int


@dataclass(frozen=True, slots=True)
class SideButton:
    """206: the button BACK or FORWARD went down or up at x, y. Other buttons are nobody's."""

    x: int
    y: int
    button: int
    down: bool


@dataclass(frozen=True, slots=True)
class MoveBy:
    """207: the mouse was moved by so many of its counts, then `button` (as in `Mouse`) happened. -32768..32767 each."""

    right: int
    down: int
    button: int
