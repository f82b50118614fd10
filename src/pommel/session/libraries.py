"""The libraries that a session's agent needs on each system. Band: core, no I/O.

They are few, because they are copied into machines. The compiled ones are numpy and simplejpeg, and on a Mac pyobjc,
which calls macOS from Python. The daemon needs none of them, except pyobjc on macOS to find out who connects.
"""

from __future__ import annotations

from collections.abc import Mapping

from pommel.session.places import System

# Package -> the module that shows that it is there; "" if an older macOS does not support it.
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
# The modules of Pommel in an agent that would otherwise be imported while somebody waits for a picture.
OWN: Mapping[System, tuple[str, ...]] = {
    "linux": ("pommel.app.session.kvm_agent", "pommel.screen.endpoint", "pommel.screen.sources.x11"),
    "macos": ("pommel.app.session.kvm_agent", "pommel.screen.endpoint", "pommel.screen.sources.macos"),
}
