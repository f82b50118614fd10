"""What hands do, in the words every sink understands. Band: core, no I/O.

Places are pixels of the frame; keys are the wire's virtual keys; buttons are RFB's bits (1 left, 2 middle, 4 right).
"""

from __future__ import annotations

from dataclasses import dataclass

LEFT, MIDDLE, RIGHT = 1, 2, 4


@dataclass(frozen=True, slots=True)
class PressKey:
    """Press a key, or with `down` false let it go."""

    vk: int
    extended: bool
    down: bool


@dataclass(frozen=True, slots=True)
class MovePointer:
    """Put the pointer at x, y with exactly these buttons down."""

    x: int
    y: int
    buttons: int


@dataclass(frozen=True, slots=True)
class TurnWheel:
    """Turn the wheel at x, y by `notches`; positive is away from the user, which scrolls up."""

    x: int
    y: int
    buttons: int
    notches: int


@dataclass(frozen=True, slots=True)
class TypeText:
    """Type these characters, whatever keys that takes."""

    text: str


Action = PressKey | MovePointer | TurnWheel | TypeText
