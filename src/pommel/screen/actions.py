"""What hands do, in the words every sink understands. Band: core, no I/O.

Places are pixels of the frame; keys are the wire's virtual keys; buttons are RFB's bits (1 left, 2 middle, 4 right, and
those of its extension: 0x80 back, 0x100 forward).
"""

from __future__ import annotations

from dataclasses import dataclass

LEFT, MIDDLE, RIGHT, BACK, FORWARD = 1, 2, 4, 0x80, 0x100


@dataclass(frozen=True, slots=True)
class PressKey:
    """Press a key, or with `down` false let it go.

    The key is the one at the place that it has on a US keyboard. With `legend` it is the one that has this printed on
    it on the person's keyboard: the key that types the same in the machine, where the sink knows the layout there.
    """

    vk: int
    extended: bool
    down: bool
    legend: bool = False


@dataclass(frozen=True, slots=True)
class MovePointer:
    """Put the pointer at x, y with exactly these buttons down."""

    x: int
    y: int
    buttons: int


@dataclass(frozen=True, slots=True)
class MoveBy:
    """Move the pointer by so many counts of a mouse, then have exactly these buttons down."""

    right: int
    down: int
    buttons: int


@dataclass(frozen=True, slots=True)
class TurnWheel:
    """Turn the wheel at x, y by steps, 120 a notch; `up` is away from the user, which scrolls up."""

    x: int
    y: int
    buttons: int
    up: int
    right: int = 0


@dataclass(frozen=True, slots=True)
class TypeText:
    """Type these characters, whatever keys that takes."""

    text: str


Action = PressKey | MovePointer | MoveBy | TurnWheel | TypeText
