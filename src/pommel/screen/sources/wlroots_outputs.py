"""The outputs of a Wayland compositor, and which one is shown. Band: core, no I/O.

An output is shown alone; there is no picture of all of them. The chosen one is remembered by its name, because its
number changes when another one is unplugged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from pommel.screen.frame import Pixels
from pommel.screen.geometry import Size
from pommel.screen.seams import Displays
from pommel.wire.messages import Display

_FLIPPED = 4
_NONE = Size(0, 0)


@dataclass(frozen=True, slots=True)
class Output:
    """One output: its place in the layout, its size in pixels, and its transform (wl_output.transform, 0 to 7)."""

    name: str = ""
    x: int = 0
    y: int = 0
    size: Size = _NONE
    transform: int = 0

    @property
    def shown_size(self) -> Size:
        """The size of the picture after the transform."""
        width, height = self.size
        return Size(height, width) if self.transform % 2 else self.size


@dataclass(frozen=True, slots=True)
class Outputs:
    """All outputs by the number of their global, in the compositor's order, and the name of the chosen one."""

    all: dict[int, Output] = field(default_factory=dict)
    chosen: str = ""

    def changed(self, number: int, output: Output) -> Outputs:
        """Return the outputs after one came or changed."""
        return replace(self, all={**self.all, number: output})

    def without(self, number: int) -> Outputs:
        """Return the outputs after one went."""
        return replace(self, all={one: output for one, output in self.all.items() if one != number})

    def choose(self, display: int) -> Outputs:
        """Return the outputs with a display of the list chosen; unchanged if there is none of this number."""
        outputs = list(self.all.values())
        return replace(self, chosen=outputs[display - 1].name) if 1 <= display <= len(outputs) else self

    @property
    def shown(self) -> int | None:
        """The number of the shown output: the chosen one, else the first; None if there is none."""
        return next((number for number, one in self.all.items() if one.name == self.chosen), next(iter(self.all), None))

    @property
    def displays(self) -> Displays:
        """The list of displays for viewers; empty if there are fewer than two."""
        if len(self.all) < 2:
            return Displays()
        numbered = list(enumerate(self.all.items(), 1))
        selected = next(display for display, (number, _) in numbered if number == self.shown)
        return Displays(
            tuple(Display(display, one.x, one.y, *one.shown_size) for display, (_, one) in numbered), selected
        )


def upright(pixels: Pixels, transform: int) -> Pixels:
    """Turn an output's pixels as the person before it sees them, without a copy.

    A transform turns the content clockwise by quarters, and from 4 on counter-clockwise and then flips it at the
    vertical axis, as sway does it. Here the reverse is done.
    """
    if transform >= _FLIPPED:
        return np.rot90(pixels[:, ::-1], transform - _FLIPPED)
    return np.rot90(pixels, -transform)
