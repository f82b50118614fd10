"""What a session's agent needs beside Python itself, on each system. Band: core, no I/O.

Little, as it has to be brought into machines: of compiled things numpy and simplejpeg, and on a Mac pyobjc, which is
how Python speaks to it. The daemon needs none of it, but for macOS's own answers about who connects.
"""

from __future__ import annotations

from collections.abc import Mapping

from pommel.session.places import System

# Package -> the module that shows that it is there; none where an older macOS has nothing behind it.
_EVERYWHERE = {"click": "click", "numpy": "numpy", "simplejpeg": "simplejpeg"}
PACKAGES: Mapping[System, Mapping[str, str]] = {
    "linux": {**_EVERYWHERE, "python-xlib": "Xlib", "six": "six"},
    "macos": {
        **_EVERYWHERE,
        "pyobjc-framework-ApplicationServices": "HIServices",
        "pyobjc-framework-Cocoa": "AppKit",
        "pyobjc-framework-CoreMedia": "",
        "pyobjc-framework-Quartz": "Quartz",
        "pyobjc-framework-ScreenCaptureKit": "",
        "pyobjc-framework-Security": "Security",
        "pyobjc-framework-SystemConfiguration": "SystemConfiguration",
    },
}
# Fetches a Python for a guest that has none.
FETCHER = "uv"
# What of Pommel an agent runs; the modules that would be imported when somebody waits for a picture.
OWN: Mapping[System, tuple[str, ...]] = {
    "linux": ("pommel.app.kvm_agent", "pommel.screen.endpoint", "pommel.screen.sources.x11"),
    "macos": ("pommel.app.kvm_agent", "pommel.screen.endpoint", "pommel.screen.sources.macos"),
}
