"""Write the locks anew: every library at one version, with the hashes of all its files.

python3 tools/lock.py              all of them, at the newest versions
python3 tools/lock.py NAME…        only these, such as guest or bench, at the versions that the others have

For all systems and for every Python that Pommel runs on, as markers tell. `./pommel`, `./test` and continuous
integration install from those in lock/. What `pommel guest install` fetches for a guest has one of its own, which ships
with Pommel. The work is done by uv, in an environment of its own that is thrown away. The index is the one that pip is
told of here, and is not written down: hashes say what is to come, wherever from.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pip_kept import environment

ROOT = Path(__file__).parents[1]
LOCKS = {
    "run": ROOT / "lock" / "run.txt",
    "test": ROOT / "lock" / "test.txt",
    "bench": ROOT / "lock" / "bench.txt",
    "guest": ROOT / "src" / "pommel" / "session" / "guest.lock",
}
EXTRAS = {"run": (), "test": ("test", "macos"), "bench": ("bench",)}
EDITABLE = "editables"  # what hatchling asks for when it installs a checkout (get_requires_for_build_editable)
HEAD = "# Made by tools/lock.py; do not edit. ARCHITECTURE.md (Libraries) says when to make it anew.\n"


def main() -> None:
    """Write what is asked for; each takes the versions of those before it."""
    asked = sys.argv[1:] or list(LOCKS)
    if unknown := set(asked) - set(LOCKS):
        sys.exit(f"error: there is no lock {', '.join(sorted(unknown))}; there are {', '.join(LOCKS)}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    oldest = project["project"]["requires-python"].removeprefix(">=")
    with tempfile.TemporaryDirectory(prefix="pommel-lock.") as scratch:
        tools = Path(scratch) / "tools"
        venv.create(tools, with_pip=True)
        subprocess.run(
            [tools / "bin" / "python", "-I", ROOT / "tools" / "pip_kept.py", "install", "--quiet", "uv"], check=True
        )
        build, guest = Path(scratch) / "build.in", Path(scratch) / "guest.in"
        build.write_text("\n".join([*project["build-system"]["requires"], EDITABLE]) + "\n")
        guest.write_text("\n".join(_for_guests()) + "\n")
        known: list[str] = []
        for name, place in LOCKS.items():
            if name in asked:
                out = Path(scratch) / f"{name}.txt"
                words = [tools / "bin" / "uv", "pip", "compile", "--quiet", "--no-config", "--universal", "--upgrade"]
                words += ["--python-version", oldest, "--generate-hashes", "--no-emit-index-url", "--no-annotate"]
                words += ["--no-header", "--output-file", out, *known]
                if name in EXTRAS:
                    words += [*(f"--extra={extra}" for extra in EXTRAS[name]), ROOT / "pyproject.toml", build]
                else:
                    words.append(guest)
                subprocess.run(words, check=True, env=_for_uv())
                place.write_text(HEAD + out.read_text())
                print(f"{place.relative_to(ROOT)}: {out.read_text().count('==')} libraries")
            known += ["--constraint", str(place)]


def _for_guests() -> list[str]:
    """What an agent needs, as `session/libraries.py` says, and uv for guests that have no Python."""
    sys.path.insert(0, str(ROOT / "src"))
    from pommel.session.libraries import FETCHER, PACKAGES

    names = dict.fromkeys(name for some in PACKAGES.values() for name in some)
    where = {name: [system for system in PACKAGES if name in PACKAGES[system]] for name in names}
    platform = {"linux": "linux", "macos": "darwin"}
    lines = [
        name if len(systems) == len(PACKAGES) else f"{name}; sys_platform == '{platform[systems[0]]}'"
        for name, systems in where.items()
    ]
    return [*lines, FETCHER]


def _for_uv() -> dict[str, str]:
    """The environment, with pip's index for uv, which does not read what pip is told."""
    kept = environment()
    found = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    return found | ({"UV_DEFAULT_INDEX": kept["PIP_INDEX_URL"]} if "PIP_INDEX_URL" in kept else {})


if __name__ == "__main__":
    main()
