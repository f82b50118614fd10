"""The Chromium in which tests look at pages.

Where it is installed, that is Debian's chromium-headless-shell: the same engine, of the same source and version,
without the browser's own windows. A page in it takes less than half as much of a processor. What is about a browser
(keys of a real window, its clipboard, a locked mouse, an installed page) asks for `chromium` itself.
"""

from __future__ import annotations

import shutil

from isolation import patient
from pommel.process import which

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def headless() -> str:
    """The program to start."""
    return shutil.which("chromium-headless-shell") or which("chromium")


def page_ms(seconds: float) -> float:
    """How long Playwright is to wait for what takes at most `seconds` on an idle host, in its milliseconds."""
    return patient(seconds) * 1000
