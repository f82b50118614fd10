"""Copy what the page has of others, as their npm packages have it: xterm.js and its addon, with their licences.

python3 tools/vendored.py            copies
python3 tools/vendored.py --check    copies nothing; ends with 1 if a file differs

lock/page has the versions, with the hashes of the packages. For others: edit lock/page/package.json, then run
`npm install --package-lock-only` there, take the addresses (`resolved`) out of the lock file, and run this.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "lock" / "page"
STATIC = ROOT / "src" / "pommel" / "console" / "static"
# In the page's folder: the packages' own files, unchanged. `.mjs` is linted by nobody here: `.js` is ours.
FILES = {
    "xterm.mjs": "@xterm/xterm/lib/xterm.mjs",
    "xterm.css": "@xterm/xterm/css/xterm.css",
    "xterm.LICENSE": "@xterm/xterm/LICENSE",
    "xterm-addon-fit.mjs": "@xterm/addon-fit/lib/addon-fit.mjs",
    "xterm-addon-fit.LICENSE": "@xterm/addon-fit/LICENSE",
}


def fetch(folder: Path) -> Path:
    """Install the packages below `folder`, checked by the hashes of the lock file; return where they are."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK / name, folder)
    words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(words, cwd=folder, check=True, timeout=300)
    return folder / "node_modules"


def differing(packages: Path) -> list[str]:
    """The names of the files that are not as in the packages."""
    return [
        name
        for name, source in FILES.items()
        if not (STATIC / name).exists() or (STATIC / name).read_bytes() != (packages / source).read_bytes()
    ]


def main() -> int:
    """Copy, or check."""
    with tempfile.TemporaryDirectory() as folder:
        packages = fetch(Path(folder))
        changed = differing(packages)
        if "--check" in sys.argv[1:]:
            print("\n".join(f"{name} differs from its package" for name in changed), end="\n" if changed else "")
            return 1 if changed else 0
        for name in changed:
            shutil.copy(packages / FILES[name], STATIC / name)
            print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
