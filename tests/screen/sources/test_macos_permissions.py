from __future__ import annotations

import pytest

from pommel.screen.sources.macos import permissions
from pommel.screen.sources.macos_permissions import accessibility, explain, screen_recording
from screen.mac import mac


@pytest.mark.parametrize(
    ("release", "pane"),
    [
        (12, "System Preferences > Security & Privacy > Privacy > Screen Recording"),
        (14, "System Settings > Privacy & Security > Screen Recording"),
        (15, "System Settings > Privacy & Security > Screen & System Audio Recording"),
    ],
)
def test_the_pane_is_called_as_this_macos_calls_it(release: int, pane: str) -> None:
    words = screen_recording(False, release, "python3.13").words
    assert words.endswith(f"turn on python3.13 in {pane}")


def test_what_is_granted_needs_no_words() -> None:
    assert explain([screen_recording(True, 14), accessibility(True, 14)]) == ""


def test_all_that_is_missing() -> None:
    words = explain([screen_recording(False, 14), accessibility(False, 14)])
    assert "nothing can be shown" in words
    assert "keys and mouse do nothing" in words


def test_asking_asks_nobody() -> None:
    with mac() as it:
        it.accessibility = False
        assert [(one.name, one.granted) for one in permissions(it.frameworks())] == [
            ("Screen Recording", True),
            ("Accessibility", False),
        ]
        assert it.asked == []
