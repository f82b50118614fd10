"""What a package has in /usr/share beside Pommel itself: man pages, completions, the menu's entry and its icon.

    python3 tools/shared_files.py SHARE [COMMAND]

COMMAND is how the entry starts Pommel (default: pommel). Needs pommel to be importable, and bash.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import man
from click.shell_completion import get_completion_class

from pommel.cli.main import pommel
from pommel.host import desktop

COMPLETIONS = {
    "bash": "bash-completion/completions/pommel",
    "zsh": "zsh/site-functions/_pommel",
    "fish": "fish/vendor_completions.d/pommel.fish",
}


def main(share: Path, command: str = "pommel") -> None:
    """Write them all below `share`."""
    man.write(share / "man")
    entry, icon, name = desktop.for_all([command])
    _write(share / "applications" / f"{name}.desktop", entry)
    _write(share / "icons" / "hicolor" / "scalable" / "apps" / f"{name}.svg", icon)
    for shell, place in COMPLETIONS.items():
        kind = get_completion_class(shell)
        if kind is None:
            raise LookupError(shell)
        _write(share / place, kind(pommel, {}, "pommel", "_POMMEL_COMPLETE").source())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), *sys.argv[2:])
