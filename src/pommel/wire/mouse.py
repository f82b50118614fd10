"""Mouse commands of Pommel's page that MeshCentral's `Mouse` and `MouseWheel` do not have. Band: core, no I/O.

The page sends these only after a `MouseKind`, and an endpoint sends a `MouseKind` only to a viewer that says
ASKS_OF_MOUSE. So an older or newer page or endpoint, and MeshCentral's, get only commands that they know.

A wheel is counted in steps: 120 steps are one notch, as in Windows, Linux and browsers. Parts of a notch are sent as
they are. A receiver whose wheel has only whole notches adds the rest of each turn to the next one, in both directions,
so the sum that arrives differs from the sum that was turned by less than one notch.
"""

from __future__ import annotations

from dataclasses import dataclass

NOTCH = 120
TURN_MOST = 40 * NOTCH  # the limit of an endpoint for one command: a hostile one must not scroll for minutes

# MouseKind.bits
HAS_SIDES, RELATIVE = 1, 2

# SideButton.button
BACK, FORWARD = 0, 1


@dataclass(frozen=True, slots=True)
class MouseKind:
    """204: the properties of the machine's mouse.

    HAS_SIDES: it may have buttons for back and forward. RELATIVE: it only reports movements, so the machine's pointer
    may be at another place than the viewer's; then use `MoveBy`.
    """

    bits: int


@dataclass(frozen=True, slots=True)
class Turn:
    """205: the wheel turned at x, y by steps of 1/120 notch: `up` is away from the user, `right` to the right.

    -32768..32767 each; at most TURN_MOST in either direction is used.
    """

    x: int
    y: int
    up: int
    right: int


@dataclass(frozen=True, slots=True)
class SideButton:
    """206: the button BACK or FORWARD went down or up at x, y. Other buttons are ignored."""

    x: int
    y: int
    button: int
    down: bool


@dataclass(frozen=True, slots=True)
class MoveBy:
    """207: the mouse was moved by this many of its counts, then `button` as in `Mouse`. -32768..32767 each."""

    right: int
    down: int
    button: int
