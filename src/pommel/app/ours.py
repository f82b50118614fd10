"""What in a home is Pommel's, and what is somebody else's that lies in the same folder. Band: app.

A home is marked when Pommel first makes something in it (`marks`). The mark names what was there before. A folder that
Pommel made is Pommel's whole. In one that was there before, and in a home of an earlier version, which has no mark,
that is Pommel's which can be by its name and by what is in it.
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
_INCOMING = "incoming"  # in the folder of the recovery images: downloads that were broken off
_CACHED = ("kvm.json", "qemu-version.json", "session")


def in_home(home: Home) -> list[Path]:
    """What is Pommel's in the home: whole folders, or single things in a folder that somebody else made or filled."""
    marked, before = marks.marked(home)
    found: list[Path] = []
    for name in marks.FOLDERS:
        folder = home.root / name
        if folder.is_dir():
            found += [folder] if marked and name not in before else _known(home, folder)
    lock = home.root / "ports.lock"
    return found + ([lock] if lock.is_file() and (marked or found) else [])


def sockets_of(home: Home) -> list[Path]:
    """The folders of sockets outside the home, of its machines and its syncs."""
    names = [*home.names(), ".clip"]
    spare = sockets.spare(home.root)
    elsewhere = [base / name for base in (home.runtime, *home.former) for name in names]
    return [path for path in (*dict.fromkeys(elsewhere), spare) if path.is_dir() and not _inside(home, path)]


def in_cache(home: Home) -> list[Path]:
    """What is Pommel's in the cache, unless another home has a use for it."""
    if marks.other_homes(home):
        return []
    return [path for path in (home.cache / name for name in (*_CACHED, marks.user(home).parent.name)) if path.exists()]


def _inside(home: Home, path: Path) -> bool:
    return path.is_relative_to(home.root)  # it goes with the folders of the home, or by its name in them


def _known(home: Home, folder: Path) -> list[Path]:
    is_ours = _LOOKS[folder.name]
    names, inner = set(home.names()), _known(home, folder / _INCOMING) if (folder / _INCOMING).is_dir() else []
    return inner + [path for path in sorted(folder.iterdir()) if _is_leftover(path) or is_ours(path, names)]


def _is_leftover(path: Path) -> bool:
    """A lock of ours, or what a killed build left."""
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


def _download(path: Path, names: set[str]) -> bool:
    return any(part.suffix in (".part", ".journal", ".chunklist") for part in path.glob("*"))


def _opencore(path: Path, names: set[str]) -> bool:
    return _HEX.match(path.name) is not None and (path / "OpenCore.qcow2").is_file()


def _clip(path: Path, names: set[str]) -> bool:
    return (path / "lock").is_file() and (path / "lock").stat().st_size == 0


def _mesh(path: Path, names: set[str]) -> bool:
    return path.name in ("lock", "status.json", "log") and path.is_file()


def _run(path: Path, names: set[str]) -> bool:
    return path.is_dir() and path.name in {*names, ".clip"}


_LOOKS: dict[str, Callable[[Path, set[str]], bool]] = {
    "machines": _machine,
    "trial": _trial,
    "upstream": _upstream,
    "recovery": _recovery,
    _INCOMING: _download,
    "opencore": _opencore,
    "clip": _clip,
    "mesh": _mesh,
    "run": _run,
}


def parents(home: Home) -> Iterator[Path]:
    """The folders that go if nothing is left in them, the inner ones first."""
    yield home.recovery / _INCOMING
    yield from (home.root / name for name in marks.FOLDERS)
    yield sockets.spare(home.root).parent
    for base in home.former:
        yield base
        yield base.parent if base.parent.name == "pommel" else base
    yield home.cache
    yield home.root
