"""The command line: parse, call app, render. Band: face.

Commands are imported when they are called: `pommel status` must not pay for the web server.
"""

from __future__ import annotations

import sys

from pommel.cli.main import main

__all__ = ["main"]

if sys.version_info < (3, 11):  # noqa: UP036 - a pip that ignores requires-python gets a sentence, not a traceback
    raise SystemExit("pommel needs Python 3.11 or newer")
