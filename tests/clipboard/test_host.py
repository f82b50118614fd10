"""Which desktop a session really has."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from pommel.clipboard.host import Desktop, find_desktop
from pommel.errors import StateError


@pytest.mark.parametrize(
    ("env", "found"),
    [
        ({"DISPLAY": ":1"}, Desktop("x11", ":1")),
        ({"DISPLAY": ":1", "WAYLAND_DISPLAY": "wayland-0"}, Desktop("wayland", "wayland-0")),
        ({"DISPLAY": ":1", "XDG_SESSION_TYPE": "wayland"}, Desktop("wayland", "wayland-0")),
        # Left over from a session that is no more, or of another user's.
        ({"DISPLAY": ":1", "WAYLAND_DISPLAY": "wayland-7"}, Desktop("x11", ":1")),
        ({"DISPLAY": ":1", "XDG_SESSION_TYPE": "x11"}, Desktop("x11", ":1")),
        ({"WAYLAND_DISPLAY": "wayland-7"}, None),
        ({}, None),
    ],
)
def test_find_desktop(tmp_path: Path, env: dict[str, str], found: Desktop | None) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "wayland-0"))
        given = {**env, "XDG_RUNTIME_DIR": str(tmp_path)}
        if found is not None:
            assert find_desktop(given) == found
            return
        with pytest.raises(StateError, match="no desktop here"):
            find_desktop(given)
