"""The agent's libraries for another system, as a folder that can be carried there. Band: shell.

Those of this very Pommel where they run there too; else pip fetches wheels made for that system. No package is built,
and nothing of a package is run.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from pommel.errors import CommandFailed, MissingProgram, StateError
from pommel.process import run

_PIP_S = 600.0
# What no program needs at run time, and is half of all.
_IDLE_FOLDERS = {"tests", "include", "f2py", "distutils", "__pycache__"}
_IDLE_SUFFIXES = {".pyi", ".a", ".pyc", ".h"}


@dataclass(frozen=True, slots=True)
class Target:
    """What the libraries are for: a Python's version, and the wheels' platforms that run there."""

    python: tuple[int, int]
    platforms: tuple[str, ...]


def gather(packages: Iterable[str], target: Target, into: Path, env: Mapping[str, str]) -> list[str]:
    """Put packages into the folder `into`, and return what they are, as `name version`.

    Raises:
        StateError: there is no wheel of one of them for that system.
        MissingProgram: this Python has no pip.
        CommandFailed, DeadlineError: pip could not fetch them.
    """
    packages = list(packages)
    own = [found for name in packages if (found := _own(name, target)) is not None]
    if len(own) == len(packages):
        return sorted(_copy(one, into) for one in own)
    return _fetched(packages, target, into, env)


# --- ours ---


def _own(name: str, target: Target) -> metadata.Distribution | None:
    """A package of this Python, if it runs there as it is."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    told = (line.partition(":") for line in (found.read_text("WHEEL") or "").splitlines())
    tags = [value.strip() for key, _, value in told if key == "Tag"]
    return found if any(_fits(tag, target) for tag in tags) and found.files else None


def _fits(tag: str, target: Target) -> bool:
    python, _, platform = tag.split("-")
    if platform == "any":
        return python.startswith("py")
    same = sys.version_info[:2] == target.python and python == f"cp{target.python[0]}{target.python[1]}"
    return same and any(one in target.platforms for one in platform.split("."))


def _copy(package: metadata.Distribution, into: Path) -> str:
    for file in package.files or ():
        if ".." in file.parts or not _is_wanted(PurePosixPath(file)):
            continue
        place = into / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(file.locate()), place)
    return f"{package.metadata['Name']} {package.version}"


def _is_wanted(path: PurePosixPath) -> bool:
    return path.suffix not in _IDLE_SUFFIXES and not _IDLE_FOLDERS.intersection(path.parts)


# --- fetched ---


def _fetched(packages: Sequence[str], target: Target, into: Path, env: Mapping[str, str]) -> list[str]:
    wheels = into.with_name(f"{into.name}.wheels")
    wheels.mkdir()
    download(packages, target, wheels, env)
    names = []
    for wheel in sorted(wheels.glob("*.whl")):
        unpack(wheel, into)
        names.append(" ".join(wheel.name.split("-")[:2]))
    shutil.rmtree(wheels)
    return names


def download(packages: Sequence[str], target: Target, into: Path, env: Mapping[str, str]) -> None:
    """Have pip fetch wheels for that system, with what they need.

    Raises:
        StateError, MissingProgram, CommandFailed, DeadlineError: as `gather`.
    """
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    words += ["--only-binary=:all:", "--python-version", "{}.{}".format(*target.python), "--dest", str(into)]
    words += [f"--platform={platform}" for platform in target.platforms]
    try:
        run([*words, *packages], timeout_s=_PIP_S, env=env or None)
    except CommandFailed as failure:
        raise _explained(failure, target) from failure


def _explained(failure: CommandFailed, target: Target) -> Exception:
    if "No module named pip" in failure.output:
        return MissingProgram(
            "this Python has no pip to fetch the agent's libraries with", hint=f"{sys.executable} -m ensurepip"
        )
    lines = [line for line in failure.output.splitlines() if line.startswith("ERROR:")]
    why = lines[-1].removeprefix("ERROR: ") if lines else failure.message
    if "No matching distribution" in failure.output and "Connection" not in failure.output:
        where = f"Python {target.python[0]}.{target.python[1]} on {target.platforms[-1]}"
        return StateError(f"the agent's libraries are not to be had for {where}: {why}")
    return failure


def unpack(wheel: Path, into: Path) -> None:
    """Put what a wheel holds for import into the folder `into`.

    Raises:
        StateError: it is no wheel that can be trusted to stay in there.
    """
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if path.is_absolute() or ".." in path.parts:
                raise StateError(f"{wheel.name} holds a path that leads out of it: {entry.filename}")
            # x-1.data/purelib and /platlib go where the rest goes (PEP 427); scripts and headers are of no use here.
            if path.parts[0].endswith(".data"):
                if path.parts[1:2] not in (("purelib",), ("platlib",)):
                    continue
                path = PurePosixPath(*path.parts[2:])
            if not entry.is_dir() and _is_wanted(path):
                place = into / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(entry))
