"""What macOS lets this process do, in words a person can act on. Band: core, no I/O.

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
class Permission:
    """One permission. `pane` is where a person grants it, `url` opens that place (`open URL` on the Mac)."""

    name: str
    granted: bool
    what_for: str
    pane: str
    url: str
    program: str = ""

    @property
    def words(self) -> str:
        """Say what is missing and what to do; "" if nothing is."""
        if self.granted:
            return ""
        what = f"{self.name.lower()} is not permitted, so {self.what_for}"
        return f"{what}: on the Mac, turn on {self.program or 'Python'} in {self.pane}"


def screen_recording(granted: bool, release: int, program: str = "") -> Permission:
    """The permission to see the screen; `release` is macOS's first number."""
    pane = "Screen & System Audio Recording" if release >= _SEQUOIA else "Screen Recording"
    return Permission(
        "Screen Recording", granted, "nothing can be shown", _pane(pane, release),
        f"{_SETTINGS}Privacy_ScreenCapture", program,
    )  # fmt: skip


def accessibility(granted: bool, release: int, program: str = "") -> Permission:
    """The permission to type and to use the mouse."""
    return Permission(
        "Accessibility", granted, "keys and mouse do nothing", _pane("Accessibility", release),
        f"{_SETTINGS}Privacy_Accessibility", program,
    )  # fmt: skip


def explain(permissions: Sequence[Permission]) -> str:
    """Say all that is missing in one line; "" if nothing is."""
    return "; ".join(one.words for one in permissions if not one.granted)


def _pane(name: str, release: int) -> str:
    if release >= _VENTURA:
        return f"System Settings > Privacy & Security > {name}"
    return f"System Preferences > Security & Privacy > Privacy > {name}"
