"""The permissions that macOS gives this process, with instructions for a person. Band: core, no I/O.

Screen recording and control of the computer are granted by a person, in System Settings, to the program that macOS
holds responsible: with Python that is the interpreter, or whatever started it (a terminal, sshd, a launchd job). The
panes' names are those of macOS 11 to 26; their addresses have not changed over these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_SETTINGS = "x-apple.systempreferences:com.apple.preference.security?"
_VENTURA, _SEQUOIA = 13, 15


@dataclass(frozen=True, slots=True)
class MacPermission:
    """One permission. A person grants it in `pane`; `open URL` on the Mac, with `url`, opens that pane."""

    name: str
    granted: bool
    what_for: str
    pane: str
    url: str
    program: str = ""

    @property
    def words(self) -> str:
        """The missing permission and the remedy, in a sentence; "" if it is granted."""
        if self.granted:
            return ""
        what = f"{self.name.lower()} is not permitted, so {self.what_for}"
        return f"{what}: on the Mac, turn on {self.program or 'Python'} in {self.pane}"


def screen_recording(granted: bool, release: int, program: str = "") -> MacPermission:
    """The permission to see the screen; `release` is macOS's first number."""
    pane = "Screen & System Audio Recording" if release >= _SEQUOIA else "Screen Recording"
    return MacPermission(
        "Screen Recording", granted, "nothing can be shown", _pane(pane, release),
        f"{_SETTINGS}Privacy_ScreenCapture", program,
    )  # fmt: skip


def accessibility(granted: bool, release: int, program: str = "") -> MacPermission:
    """The permission to type and to use the mouse."""
    return MacPermission(
        "Accessibility", granted, "keys and mouse do nothing", _pane("Accessibility", release),
        f"{_SETTINGS}Privacy_Accessibility", program,
    )  # fmt: skip


def explain(permissions: Sequence[MacPermission]) -> str:
    """All missing permissions in one line; "" if none is missing."""
    return "; ".join(one.words for one in permissions if not one.granted)


def _pane(name: str, release: int) -> str:
    if release >= _VENTURA:
        return f"System Settings > Privacy & Security > {name}"
    return f"System Preferences > Security & Privacy > Privacy > {name}"
