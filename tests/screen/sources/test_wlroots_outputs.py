"""The choice of an output, when outputs come, go and change their numbers."""

from __future__ import annotations

from pommel.screen.geometry import Size
from pommel.screen.seams import Displays
from pommel.screen.sources.wlroots_outputs import Output, Outputs
from pommel.wire.messages import Display

LEFT = Output("DP-1", 0, 0, Size(640, 360))
TURNED = Output("DP-2", 640, 0, Size(800, 600), 1)


def test_the_chosen_output_is_known_by_its_name() -> None:
    both = Outputs().changed(40, LEFT).changed(41, TURNED)
    assert both.shown == 40
    chosen = both.choose(2)
    assert chosen.shown == 41
    assert chosen.displays == Displays((Display(1, 0, 0, 640, 360), Display(2, 640, 0, 600, 800)), 2)
    alone = chosen.without(41)
    assert alone.shown == 40
    assert alone.displays == Displays()
    assert alone.changed(57, TURNED).shown == 57, "it came back with another number"


def test_what_is_not_there_is_not_chosen() -> None:
    assert Outputs().shown is None
    assert Outputs().changed(40, LEFT).choose(7).shown == 40
