"""Find out which files in a home are Pommel's, and which are not, for `uninstall`. Band: app.

Pommel marks a home when it first makes something in it (`marks`). The mark lists what was there before. A folder that
Pommel made belongs to Pommel with all its content. In a folder that existed before, and in a home of an earlier version
without a mark, a file is Pommel's only if its name and its content show that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from pommel import marks, sockets
from pommel.paths import Home, is_aside

_HEX = re.compile(r"[0-9a-f]{16}\Z")
_IMAGE = re.compile(r"sha256-[0-9a-f]{64}\Z")
_CHECKOUT = re.compile(r"(osx-kvm|[a-z0-9._-]{1,40}-[0-9a-f]{8})\Z")
_INCOMING = "incoming"  # in the folders of recovery images and installers: unfinished downloads
_PRODUCT = re.compile(r"[0-9]{3}-[0-9]{5}(-[A-Z])?\Z")
_CACHED = ("kvm.json", "qemu-version.json", "session")


def in_home(home: Home) -> list[Path]:
    """Pommel's files in the home: whole folders, or single entries of a folder that existed before."""
    marked, before = marks.marked(home)
    found: list[Path] = []
    for name in marks.FOLDERS:
        folder = home.root / name
        if folder.is_dir():
            found += [folder] if marked and name not in before else _known(home, folder)
    lock = home.root / "ports.lock"
    return found + ([lock] if lock.is_file() and (marked or found) else [])


def sockets_of(home: Home) -> list[Path]:
    """The folders of the home's sockets that are outside the home."""
    names = [*home.names(), ".clip", ".pool"]
    spare = sockets.spare(home.root)
    elsewhere = [base / name for base in (home.runtime, *home.former) for name in names]
    return [path for path in (*dict.fromkeys(elsewhere), spare) if path.is_dir() and not _inside(home, path)]


def in_cache(home: Home) -> list[Path]:
    """Pommel's files in the cache; none if another home uses the cache too."""
    if marks.other_homes(home):
        return []
    return [path for path in (home.cache / name for name in (*_CACHED, marks.user(home).parent.name)) if path.exists()]


def _inside(home: Home, path: Path) -> bool:
    return path.is_relative_to(home.root)  # `in_home` covers it


def _known(home: Home, folder: Path) -> list[Path]:
    is_ours = _LOOKS[folder.name]
    names, inner = set(home.names()), _known(home, folder / _INCOMING) if (folder / _INCOMING).is_dir() else []
    return inner + [path for path in sorted(folder.iterdir()) if _is_leftover(path) or is_ours(path, names)]


def _is_leftover(path: Path) -> bool:
    """Whether it is a lock file of Pommel, or the rest of a killed build."""
    lock = path.name.startswith(".") and path.name.endswith(".lock") and path.is_file() and path.stat().st_size == 0
    return lock or is_aside(path)


def _machine(path: Path, names: set[str]) -> bool:
    try:
        kept = json.loads((path / "machine.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(kept, dict) and {"format", "uuid", "ssh_port"} <= kept.keys()


def _trial(path: Path, names: set[str]) -> bool:
    if path.name in ("build.lock", "build.log"):
        return path.is_file()
    return _HEX.match(path.name) is not None and (path / "root.img").is_file()


def _upstream(path: Path, names: set[str]) -> bool:
    if path.name == "trial":
        return (path / ".made-from").is_file()
    return _CHECKOUT.match(path.name) is not None and (path / ".git").is_dir()


def _recovery(path: Path, names: set[str]) -> bool:
    return _IMAGE.match(path.name) is not None and path.is_dir()


def _installer(path: Path, names: set[str]) -> bool:
    return _PRODUCT.match(path.name) is not None and (path / "installer.json").is_file()


def _download(path: Path, names: set[str]) -> bool:
    return any(part.suffix in (".part", ".journal", ".chunklist") for part in path.glob("*"))


def _opencore(path: Path, names: set[str]) -> bool:
    return _HEX.match(path.name) is not None and (path / "OpenCore.qcow2").is_file()


def _images(path: Path, names: set[str]) -> bool:
    return path.name in ("oci-layout", "index.json", "blobs", "in-use", "own-keys", "trusted", "signing.key")


def _clip(path: Path, names: set[str]) -> bool:
    return (path / "lock").is_file() and (path / "lock").stat().st_size == 0


def _mesh(path: Path, names: set[str]) -> bool:
    return path.name in ("lock", "status.json", "log") and path.is_file()


def _pool(path: Path, names: set[str]) -> bool:
    return path.name in ("lock", "wishes.json", "wishes.lock", "log") and path.is_file()


def _run(path: Path, names: set[str]) -> bool:
    return path.is_dir() and path.name in {*names, ".clip", ".pool"}


_LOOKS: dict[str, Callable[[Path, set[str]], bool]] = {
    "machines": _machine,
    "trial": _trial,
    "upstream": _upstream,
    "recovery": _recovery,
    "installers": _installer,
    _INCOMING: _download,
    "opencore": _opencore,
    "images": _images,
    "clip": _clip,
    "mesh": _mesh,
    "pool": _pool,
    "run": _run,
}


def parents(home: Home) -> Iterator[Path]:
    """The folders to remove if they are empty, the inner ones first."""
    yield home.recovery / _INCOMING
    yield home.installers / _INCOMING
    yield from (home.root / name for name in marks.FOLDERS)
    yield sockets.spare(home.root).parent
    for base in home.former:
        yield base
        yield base.parent if base.parent.name == "pommel" else base
    yield home.cache
    yield home.root
