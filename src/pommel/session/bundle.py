"""Makes one file with everything that runs in a guest. Band: shell.

    VERSION          a hash of the rest
    bin/pommel       the command, with the guest's own Python
    bin/uv           only if the guest has no suitable Python: downloads one, and is removed
    lib/             Pommel and its libraries

It is unpacked by root and runs as root, so the guest checks its hash first.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pommel
from pommel.paths import write_atomic
from pommel.session.guest_system import PREFIX, GuestSystem, Python, platforms
from pommel.session.libraries import FETCHER, PACKAGES
from pommel.session.wheelhouse import WheelTarget, download, gather

FETCHED_PYTHON = (3, 12)
# Used if the guest has no Python: a link that is made at the unpacking (`placing`).
_FETCHED_PATH = f"{PREFIX}/python/this"
_FETCHED_GLIBC = (2, 17)  # python-build-standalone's own floor
# The rooms of Pommel that run in a guest, besides the shared ground.
_ROOMS = ("app", "cli", "screen", "session", "wire")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on this host's disk; `sha256` is the file's, in hex; `libraries` are its libraries as `name version`."""

    path: Path
    version: str
    sha256: str
    libraries: tuple[str, ...]


def make_bundle(guest: GuestSystem, into: Path, env: Mapping[str, str]) -> Bundle:
    """Make the bundle for a guest, in the folder `into`.

    Raises:
        StateError, MissingProgram, CommandFailed, DeadlineError: its libraries cannot be downloaded (`wheelhouse`).
    """
    python = guest.python or Python(_FETCHED_PATH, FETCHED_PYTHON, _FETCHED_GLIBC if guest.system == "linux" else ())
    target = WheelTarget(python.version, platforms(guest, python.glibc))
    with tempfile.TemporaryDirectory(prefix=".making-", dir=into) as made:
        tree = Path(made) / "tree"
        (tree / "lib").mkdir(parents=True)
        libraries = gather(PACKAGES[guest.system], target, tree / "lib", env)
        _ship_pommel(tree / "lib" / "pommel")
        (tree / "bin").mkdir()
        (tree / "bin" / "pommel").write_text(_launcher(python.path))
        if guest.python is None:
            _ship_uv(target, Path(made) / "uv", tree / "bin" / "uv", env)
        version = _hash(tree)
        (tree / "VERSION").write_text(version)
        data = _packed(tree)
    path = into / f"{version}.tar.gz"
    write_atomic(path, data)
    return Bundle(path, version, hashlib.sha256(data).hexdigest(), tuple(libraries))


def _launcher(python: str) -> str:
    # -I: neither the environment nor the current folder may decide what is imported.
    return f"""\
#!{python} -I
import sys

sys.path.insert(0, {PREFIX + "/lib"!r})
from pommel.cli import main

main()
"""


def _ship_pommel(into: Path) -> None:
    for package in map(Path, pommel.__path__):
        into.mkdir(exist_ok=True)
        for module in package.glob("*.py"):
            shutil.copyfile(module, into / module.name)
        for room in _ROOMS:
            shutil.copytree(package / room, into / room, ignore=shutil.ignore_patterns("__pycache__", "*.lock"))


def _ship_uv(target: WheelTarget, wheels: Path, into: Path, env: Mapping[str, str]) -> None:
    import zipfile

    wheels.mkdir()
    download([FETCHER], target, wheels, env)
    (wheel,) = wheels.glob("uv-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        into.write_bytes(archive.read(name))


def _files(tree: Path) -> Iterator[tuple[str, Path]]:
    yield from sorted((str(path.relative_to(tree)), path) for path in tree.rglob("*") if path.is_file())


def _hash(tree: Path) -> str:
    whole = hashlib.sha256()
    for name, path in _files(tree):
        whole.update(f"{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:16]


def _packed(tree: Path) -> bytes:
    """The same bytes for the same tree: without times and owners."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for info, data in _entries(tree):
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _entries(tree: Path) -> Iterable[tuple[tarfile.TarInfo, bytes]]:
    for name, path in _files(tree):
        info, data = tarfile.TarInfo(name), path.read_bytes()
        info.size, info.mode = len(data), 0o755 if name.startswith("bin/") else 0o644
        yield info, data
