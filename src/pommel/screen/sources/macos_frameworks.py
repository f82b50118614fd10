"""The calls of `screen` to macOS, and nothing else. Band: shell. Not run on a Mac yet.

Only this module, `macos_pixels` and `sinks.macos_events` call a framework of Apple, so that all other code can be
tested with a stand-in. They do not decide what the answers mean. pyobjc is imported when it is first needed: it exists
on Macs only. Names, constants and the number of arguments are checked by a test against the metadata in pyobjc's
wheels; what they mean is from Apple's headers: CGDirectDisplay.h, CGDisplayConfiguration.h, CGEventSource.h,
SCShareableContent.h, SCError.h, NSCursor.h. In pyobjc an out argument is passed as None and returned after the result.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pommel.errors import MissingProgram, StateError
from pommel.screen.sources.macos_cursors import CORNERS
from pommel.screen.sources.macos_displays import MacDisplay

_MAX_DISPLAYS = 32
_UNKNOWN_RELEASE = 11  # the oldest macOS for which pyobjc has all of these names


@dataclass(frozen=True, slots=True)
class MacError:
    """An error of macOS: an NSError's code and message. `declined`: a person or a setting forbids it."""

    code: int
    words: str
    declined: bool = False
    by_person: bool = False


class Frameworks:
    """pyobjc's frameworks. `load` imports one by its name."""

    def __init__(self, load: Callable[[str], Any] | None = None, *, release: int | None = None) -> None:
        self._load = load or framework
        self._has_application = False
        self.release = release if release is not None else _release()
        self.Quartz: Any = self._load("Quartz")

    @cached_property
    def objc(self) -> Any:
        """The bridge itself."""
        return self._load("objc")

    @cached_property
    def AppKit(self) -> Any:
        """NSCursor, NSApplication."""
        return self._load("AppKit")

    @cached_property
    def HIServices(self) -> Any:
        """Accessibility."""
        return self._load("HIServices")

    @cached_property
    def CoreMedia(self) -> Any:
        """Frames of a stream."""
        return self._load("CoreMedia")

    @cached_property
    def ScreenCaptureKit(self) -> Any:
        """Streams. CoreMedia is loaded first: without it pyobjc does not know the type of a stream's frames."""
        return self.CoreMedia and self._load("ScreenCaptureKit")

    @property
    def uid(self) -> int:
        """The user of this process; at the login window it is root."""
        return os.geteuid()

    @property
    def program(self) -> str:
        """The name of this program in System Settings, if no other program started us."""
        return Path(sys.executable).name

    def pool(self) -> contextlib.AbstractContextManager[None]:
        """An autorelease pool, which frees the frameworks' objects.

        A Mac program's main loop has one, asyncio's has not.
        """
        pool: contextlib.AbstractContextManager[None] = self.objc.autorelease_pool()
        return pool

    # --- displays ---

    def displays(self) -> tuple[MacDisplay, ...]:
        """List the active displays. StateError: macOS does not list them."""
        Quartz = self.Quartz
        with self.pool():
            self._hear_news()
        status, ids, count = Quartz.CGGetActiveDisplayList(_MAX_DISPLAYS, None, None)
        if status != Quartz.kCGErrorSuccess:
            raise StateError(
                f"macOS does not list its displays (error {status})",
                hint="run it inside a login session: as a LaunchAgent, or in Terminal",
            )
        return tuple(self._display(one) for one in list(ids)[:count])

    def _display(self, number: int) -> MacDisplay:
        Quartz = self.Quartz
        bounds = Quartz.CGDisplayBounds(number)
        mode = Quartz.CGDisplayCopyDisplayMode(number)
        points = Quartz.CGDisplayModeGetWidth(mode) if mode is not None else 0
        scale = Quartz.CGDisplayModeGetPixelWidth(mode) / points if points else 1.0
        return MacDisplay(
            int(number), bounds.origin.x, bounds.origin.y, bounds.size.width, bounds.size.height, scale or 1.0
        )

    def _hear_news(self) -> None:
        """Run the main thread's run loop once: only it reports displays that came, went or changed."""
        if threading.current_thread() is threading.main_thread():
            Quartz = self.Quartz
            Quartz.CFRunLoopRunInMode(Quartz.kCFRunLoopDefaultMode, 0.0, False)

    # --- permissions ---

    def may_capture(self) -> bool:
        """Whether this process may see the screen; False may be wrong (see `macos`)."""
        return bool(self.Quartz.CGPreflightScreenCaptureAccess())

    def may_post(self) -> bool:
        """Whether this process may type. The two calls sometimes disagree: one True is enough."""
        return bool(self.Quartz.CGPreflightPostEventAccess()) or bool(self.HIServices.AXIsProcessTrusted())

    def ask_for_capture(self) -> None:
        """Have macOS list this program in its Settings and ask the person there; it asks only once, ever."""
        self.Quartz.CGRequestScreenCaptureAccess()

    def ask_for_post(self) -> None:
        """The same for keys and mouse."""
        self.Quartz.CGRequestPostEventAccess()

    # --- keyboard lamps and the pointer ---

    def caps_lock(self) -> bool:
        """Tell whether Caps Lock is on for the session."""
        Quartz = self.Quartz
        flags = Quartz.CGEventSourceFlagsState(Quartz.kCGEventSourceStateCombinedSessionState)
        return bool(flags & Quartz.kCGEventFlagMaskAlphaShift)

    def pointer(self) -> bytes | None:
        """Return the pointer's picture as TIFF; None if it is not available."""
        if threading.current_thread() is not threading.main_thread():  # AppKit may be called in the main thread only
            return None
        try:
            with self.pool():
                self._be_an_application()
                return self._picture(self.AppKit.NSCursor.currentSystemCursor())
        except self.objc.error:  # an Objective-C exception: at the login window there may be no application
            return None

    def cursor(self, name: str) -> bytes | None:
        """Return the picture of the cursor with this name in `macos_cursors`; None if this macOS does not have it."""
        cursors = self.AppKit.NSCursor
        if name in CORNERS:
            make = getattr(cursors, "frameResizeCursorFromPosition_inDirections_", None)
            if make is None:
                return None
            return self._picture(make(getattr(self.AppKit, name), self.AppKit.NSCursorFrameResizeDirectionsAll))
        find = getattr(cursors, name, None)
        return self._picture(find()) if find is not None else None

    @staticmethod
    def _picture(cursor: Any) -> bytes | None:
        data = cursor.image().TIFFRepresentation() if cursor is not None else None
        return bytes(data) if data is not None else None

    def _be_an_application(self) -> None:
        """Create an application object, once: without it there is no system cursor.

        "Prohibited" keeps it out of the Dock.
        """
        if not self._has_application:
            application = self.AppKit.NSApplication.sharedApplication()
            application.setActivationPolicy_(self.AppKit.NSApplicationActivationPolicyProhibited)
            self._has_application = True

    # --- pictures, one by one: up to macOS 13, and where there is no stream ---

    @property
    def has_stills(self) -> bool:
        """Whether this macOS has CGDisplayCreateImage: Apple removed it from the SDK of macOS 15."""
        return getattr(self.Quartz, "CGDisplayCreateImage", None) is not None

    def still(self, display: int) -> Any:
        """Take a picture of a display: a CGImage, or None if it sleeps or the permission is missing. Any thread."""
        return self.Quartz.CGDisplayCreateImage(display)

    # --- streams: from macOS 14 on ---

    def find_displays(self, found: Callable[[dict[int, Any], MacError | None], None]) -> None:
        """Ask ScreenCaptureKit for its displays; `found` is called with them, by id, in a thread of macOS."""

        def answer(content: Any, error: Any) -> None:
            shown = content.displays() if content is not None and error is None else ()
            found({int(one.displayID()): one for one in shown}, self.problem(error) if error is not None else None)

        self.ScreenCaptureKit.SCShareableContent.getShareableContentWithCompletionHandler_(answer)

    def problem(self, error: Any) -> MacError:
        """Convert an NSError of ScreenCaptureKit."""
        ScreenCaptureKit = self.ScreenCaptureKit
        code, words = int(error.code()), str(error.localizedDescription())
        declined = code in (
            ScreenCaptureKit.SCStreamErrorUserDeclined, ScreenCaptureKit.SCStreamErrorMissingEntitlements
        )  # fmt: skip
        return MacError(code, words, declined, code == ScreenCaptureKit.SCStreamErrorUserStopped)


def framework(name: str) -> Any:
    """Import one of pyobjc's frameworks.

    Raises:
        MissingProgram: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingProgram(
            f"pyobjc's {name} is not installed", hint="on the Mac: pip install 'pommel[macos]'"
        ) from None


def _release() -> int:
    """macOS's first number: 14 is Sonoma."""
    first = platform.mac_ver()[0].split(".")[0]
    return int(first) if first.isdigit() else _UNKNOWN_RELEASE
