"""The `pommel` command, asking the tests' stand-in for Apple: python with_apple.py URL MODULUS WORDS…"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pommel.app.workspace import Workspace
from pommel.cli.main import main
from recovery.apple import origin_from

here = Workspace.current
origin = origin_from(sys.argv[1:3])
Workspace.current = classmethod(lambda cls: dataclasses.replace(here(), origin=origin))  # type: ignore[method-assign,assignment]
main(sys.argv[3:])
