"""`overlay status`: what is printed of a patch that cannot go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel.app.upstream.overlay import OverlayStanding
from pommel.cli.overlay import print_standing
from pommel.overlay.laying import OverlayState
from pommel.overlay.patches import PatchFailure, PatchStanding, PatchState, ThreeWay
from pommel.overlay.upstream import UpstreamState


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        (("boot.sh",), "      boot.sh was edited in the checkout: git -C /up diff -- boot.sh"),
        ((), "      three-way: conflicts too"),
    ],
)
def test_a_conflict_names_the_edit_or_what_a_merge_gives(
    edited: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = (PatchFailure("boot.sh", 3, "the lines there are not the expected lines"),)
    patch = PatchState("1.patch", PatchStanding.CONFLICT, places, ThreeWay.CONFLICTS, edited=edited)
    seen = UpstreamState("a" * 40, "a" * 40, 0, 0)
    print_standing(OverlayStanding(Path("/up"), None, "https://example.org/up", seen, OverlayState((patch,), ())))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["      boot.sh:3: the lines there are not the expected lines", said]
