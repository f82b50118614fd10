"""Determines the login session of the person at the screen. Band: shell.

On Linux from logind through libsystemd (sd_seat_get_active(3), sd_get_sessions(3)), on macOS from the System
Configuration framework (SCDynamicStoreCopyConsoleUser, Apple's QA1133). The macOS side has not been run on a Mac.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from dataclasses import dataclass
from typing import Any

from pommel.errors import MissingProgram

SEAT = "seat0"
LOGIN_WINDOW = "loginwindow"
_SCREENS = ("x11", "wayland", "mir")


@dataclass(frozen=True, slots=True)
class Session:
    """A login session. `name` is unique among those of the same `uid`; `kind` is logind's type or `aqua`, `login`."""

    uid: int
    name: str
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.name} of uid {self.uid} ({self.kind or 'of unknown kind'})"


def active_session() -> Session | None:
    """The session that is on the screen now; None if nobody is logged in.

    Raises:
        MissingProgram: the system has no logind library, or no pyobjc.
    """
    return console_session() if sys.platform == "darwin" else logind_session()


def logind_session() -> Session | None:
    """Ask logind: the active session of the seat, else the newest active one that has a screen without a seat.

    Raises:
        MissingProgram: libsystemd is not installed.
    """
    logind = _Logind()
    name = logind.active_on(SEAT) or logind.newest_with_screen()
    return logind.session(name) if name else None


class _Logind:
    """The few functions of libsystemd, documented in sd-login(3). A negative return is an errno."""

    def __init__(self) -> None:
        try:
            self._systemd = ctypes.CDLL("libsystemd.so.0")
        except OSError:
            raise MissingProgram(
                "there is no libsystemd here to ask which session is active", hint="give the user: --uid"
            ) from None
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [ctypes.c_void_p]

    def active_on(self, seat: str) -> str | None:
        text = ctypes.c_void_p()
        failed = self._systemd.sd_seat_get_active(seat.encode(), ctypes.byref(text), None) < 0
        return None if failed else self._decode(text)

    def newest_with_screen(self) -> str | None:
        found = [name for name in self._all() if self._has_screen(name)]
        return max(found, key=self._began, default=None)

    def session(self, name: str) -> Session | None:
        uid = ctypes.c_uint32()
        if self._systemd.sd_session_get_uid(name.encode(), ctypes.byref(uid)) < 0:
            return None
        return Session(uid.value, name, self._word("sd_session_get_type", name))

    def _all(self) -> list[str]:
        names = ctypes.POINTER(ctypes.c_void_p)()
        count = self._systemd.sd_get_sessions(ctypes.byref(names))
        if count < 0 or not names:
            return []
        found = [self._decode(ctypes.c_void_p(names[index])) for index in range(count)]
        self._free(ctypes.cast(names, ctypes.c_void_p))
        return found

    def _has_screen(self, name: str) -> bool:
        active = self._systemd.sd_session_is_active(name.encode()) > 0
        return active and self._word("sd_session_get_type", name) in _SCREENS

    def _began(self, name: str) -> int:
        microseconds = ctypes.c_uint64()
        # Since systemd 254; before, only the names are available, which logind numbers in order.
        ask = getattr(self._systemd, "sd_session_get_start_time", None)
        if ask is None or ask(name.encode(), ctypes.byref(microseconds)) < 0:
            digits = "".join(char for char in name if char.isdigit())
            return int(digits or 0)
        return microseconds.value

    def _word(self, function: str, name: str) -> str:
        text = ctypes.c_void_p()
        failed = getattr(self._systemd, function)(name.encode(), ctypes.byref(text)) < 0
        return "" if failed else self._decode(text)

    def _decode(self, text: ctypes.c_void_p) -> str:
        said = ctypes.string_at(text.value or 0).decode(errors="replace") if text.value else ""
        self._free(text)
        return said


def console_session(framework: Any = None) -> Session | None:
    """Ask macOS for the console's user; at the login window that is root's session.

    `framework` is pyobjc's SystemConfiguration.

    Raises:
        MissingProgram: pyobjc is not installed.
    """
    if framework is None:
        framework = framework_of("SystemConfiguration")
    name, uid, _ = framework.SCDynamicStoreCopyConsoleUser(None, None, None)
    if not name or name == LOGIN_WINDOW:
        return Session(0, LOGIN_WINDOW, "login")
    return Session(int(uid), str(name), "aqua")


def framework_of(name: str) -> Any:
    """Import one of pyobjc's frameworks.

    Raises:
        MissingProgram: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingProgram(f"pyobjc's {name} is not installed", hint=f"pip install pyobjc-framework-{name}") from None
