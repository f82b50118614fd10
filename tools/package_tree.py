"""The files of an installed Pommel, for packages of distributions: Pommel with its libraries, man pages, completions.

    PYTHON tools/package_tree.py WHEEL FOLDER

FOLDER/usr becomes what is to be in /usr: bin/pommel; lib/pommel, a virtual environment of the system's Python with the
libraries of lock/run.txt, each checked against its hashes; and in share what `shared_files` makes. Distributions have
most of these libraries in older versions, some with known holes, and some not at all; so a package carries them.

PYTHON has pip, and the same version as the system's Python where the package is installed: compiled libraries and
bytecode are for one version. Nothing in the tree names the folder where it was made. Only wheels are taken: nothing is
built here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path, PurePosixPath

sys.dont_write_bytecode = True  # what is imported from the tree would leave some there, with the folder's name in it
sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / "tools"
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
HOME = "usr/lib/pommel"
SITE = f"{HOME}/lib/python{VERSION}/site-packages"
# The words are those of `pommel bootstrap`'s own launchers (host/commands.py), which so knows this for one.
_LAUNCHER = f"""\
#!/bin/sh
# -P: nothing is imported from the current folder, which may be anybody's.
exec /{HOME}/bin/python -P -m pommel "$@"
"""
_CONFIG = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {VERSION}\n"


def make(wheel: Path, folder: Path) -> str:
    """Make the tree, and return Pommel's version.

    Raises:
        subprocess.CalledProcessError: pip could not fetch the libraries, or one of them has another hash.
    """
    site = folder / SITE
    site.mkdir(parents=True)
    _fetch(site)
    with zipfile.ZipFile(wheel) as whole:  # of Python alone, with no scripts: to unpack it is to install it
        whole.extractall(site)
    sys.path.insert(0, str(site))
    _drop_others(site)
    _environment(folder)
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    shared = [sys.executable, "-P", TOOLS / "shared_files.py", folder / "usr" / "share"]
    subprocess.run(shared, check=True, env=environment)
    _compile(folder)
    settle(folder, made_at())
    return metadata.Distribution.at(next(site.glob("pommel-*.dist-info"))).version


def made_at() -> int:
    """The time that files get: that of the release, so that the same input makes the same package. Seconds of 1970."""
    if told := os.environ.get("SOURCE_DATE_EPOCH"):  # https://reproducible-builds.org/specs/source-date-epoch/
        return int(told)
    from reference import released

    return int(datetime.fromisoformat(released()[1]).replace(tzinfo=UTC).timestamp())


def _fetch(site: Path) -> None:
    words = ["install", "--quiet", "--require-hashes", "--only-binary=:all:", "--no-compile", "--target", site]
    pip = [sys.executable, "-I", TOOLS / "pip_kept.py", *words, "-r", ROOT / "lock" / "run.txt"]
    subprocess.run(pip, check=True)
    shutil.rmtree(site / "bin", ignore_errors=True)  # scripts, with the path of this Python in them


def _drop_others(site: Path) -> None:
    """Remove what is in the lock for building Pommel only, and of the others what no program needs at run time."""
    from pommel.session.wheelhouse import is_wanted

    needed = _needed(site)
    for found in list(metadata.distributions(path=[str(site)])):
        keep = _plain(found.metadata["Name"]) in needed
        for file in found.files or ():
            if ".." not in file.parts and not (keep and is_wanted(PurePosixPath(file))):
                (site / file).unlink(missing_ok=True)
    for place in sorted((path for path in site.rglob("*") if path.is_dir()), reverse=True):
        if not any(place.iterdir()):
            place.rmdir()


def _needed(site: Path) -> set[str]:
    """What Pommel requires on this system, and what that requires; names as `_plain` has them."""
    from packaging.requirements import Requirement

    found = {_plain(each.metadata["Name"]): each for each in metadata.distributions(path=[str(site)])}
    todo: list[tuple[str, frozenset[str]]] = [("pommel", frozenset())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for line in found[name].requires or ():
            need = Requirement(line)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                todo.append((_plain(need.name), frozenset(need.extras)))
    return {name for name, _ in seen}


def _plain(name: str) -> str:
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(name))


def _environment(folder: Path) -> None:
    home, bin_folder = folder / HOME, folder / "usr" / "bin"
    (home / "pyvenv.cfg").write_text(_CONFIG)
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(f"/usr/bin/python{VERSION}")
    bin_folder.mkdir(parents=True)
    (bin_folder / "pommel").write_text(_LAUNCHER)


def _compile(folder: Path) -> None:
    """Write bytecode, since who uses a package may not; its sources do not change, so nothing compares them."""
    words = ["-q", "-f", "-j", "0", "-s", folder, "-p", "/", "--invalidation-mode", "unchecked-hash", folder / SITE]
    subprocess.run([sys.executable, "-I", "-m", "compileall", *words], check=True)


def settle(folder: Path, time_s: int) -> None:
    """Modes and times that do not depend on who made the tree, and when."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path == folder / "usr" / "bin" / "pommel"
            path.chmod(0o755 if runs else 0o644)
        os.utime(path, (time_s, time_s), follow_symlinks=False)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(make(Path(sys.argv[1]), Path(sys.argv[2])))
