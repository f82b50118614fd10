"""The actions of keyboard and mouse that every sink understands. Band: core, no I/O.

Positions are pixels of the frame; keys are the wire's virtual keys; buttons are RFB's bits (1 left, 2 middle, 4 right,
and those of its extension: 0x80 back, 0x100 forward).
"""

from __future__ import annotations

from dataclasses import dataclass

LEFT, MIDDLE, RIGHT, BACK, FORWARD = 1, 2, 4, 0x80, 0x100


@dataclass(frozen=True, slots=True)
class PressKey:
    """Press a key, or release it if `down` is false.

    `vk` is the key at the position of a US keyboard. With `legend`, it is the key with this character on the person's
    keyboard; if the sink knows the machine's layout, it presses the key that types the same character there.
    """

    vk: int
    extended: bool
    down: bool
    legend: bool = False


@dataclass(frozen=True, slots=True)
class MovePointer:
    """Move the pointer to x, y, with exactly these buttons down."""

    x: int
    y: int
    buttons: int


@dataclass(frozen=True, slots=True)
class RelativeMove:
    """Move the pointer by so many mouse counts, then have exactly these buttons down."""

    right: int
    down: int
    buttons: int


@dataclass(frozen=True, slots=True)
class TurnWheel:
    """Turn the wheel at x, y by steps (120 for one notch); `up` is away from the user, which scrolls up."""

    x: int
    y: int
    buttons: int
    up: int
    right: int = 0


@dataclass(frozen=True, slots=True)
class TypeText:
    """Type these characters; the sink finds the keys."""

    text: str


Action = PressKey | MovePointer | RelativeMove | TurnWheel | TypeText
