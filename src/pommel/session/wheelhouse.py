"""Collects the agent's libraries for another system in a folder. Band: shell.

If the libraries of this Pommel run on that system too, they are copied. If not, pip downloads wheels for that system,
with the versions of `guest.lock` (made by `tools/lock.py`), and accepts only files with its hashes. No package is
built, and no code of a package is run.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath

from pommel.errors import CommandFailed, MissingProgram, StateError
from pommel.process import run, this_python
from pommel.session.libraries import FETCHER, PACKAGES

LOCK = Path(__file__).with_name("guest.lock")
_PIP_S = 600.0
# Files that no program needs at run time; they are half of the size.
_IDLE_FOLDERS = {"tests", "include", "f2py", "distutils", "__pycache__"}
_IDLE_SUFFIXES = {".pyi", ".a", ".pyc", ".h"}


@dataclass(frozen=True, slots=True)
class WheelTarget:
    """The target of the libraries: a Python's version, and the wheels' platforms that run there."""

    python: tuple[int, int]
    platforms: tuple[str, ...]


def gather(
    packages: Iterable[str], target: WheelTarget, into: Path, env: Mapping[str, str], lock: Path = LOCK
) -> list[str]:
    """Put packages into the folder `into`, and return their names, as `name version`.

    Raises:
        StateError: there is no wheel of one of them for that system, or it is not the one in the lock.
        MissingProgram: this Python has no pip.
        CommandFailed, DeadlineError: pip could not download them.
    """
    packages = list(packages)
    own = [found for name in packages if (found := _own(name, target)) is not None]
    if len(own) == len(packages):
        return sorted(_copy(one, into) for one in own)
    return _fetched(packages, target, into, env, lock)


# --- ours ---


def _own(name: str, target: WheelTarget) -> metadata.Distribution | None:
    """A package of this Python, if it runs there unchanged."""
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    told = (line.partition(":") for line in (found.read_text("WHEEL") or "").splitlines())
    tags = [value.strip() for key, _, value in told if key == "Tag"]
    return found if any(_fits(tag, target) for tag in tags) and found.files else None


def _fits(tag: str, target: WheelTarget) -> bool:
    python, _, platform = tag.split("-")
    if platform == "any":
        return python.startswith("py")
    same = sys.version_info[:2] == target.python and python == f"cp{target.python[0]}{target.python[1]}"
    return same and any(one in target.platforms for one in platform.split("."))


def _copy(package: metadata.Distribution, into: Path) -> str:
    for file in package.files or ():
        if ".." in file.parts or not is_wanted(PurePosixPath(file)):
            continue
        place = into / file
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(file.locate()), place)
    return f"{package.metadata['Name']} {package.version}"


def is_wanted(path: PurePosixPath) -> bool:
    """Whether a running program can use a file of a library; the path is the one in the wheel."""
    return path.suffix not in _IDLE_SUFFIXES and not _IDLE_FOLDERS.intersection(path.parts)


# --- fetched ---


def _fetched(packages: Sequence[str], target: WheelTarget, into: Path, env: Mapping[str, str], lock: Path) -> list[str]:
    wheels = into.with_name(f"{into.name}.wheels")
    wheels.mkdir()
    download(packages, target, wheels, env, lock)
    names = []
    for wheel in sorted(wheels.glob("*.whl")):
        unpack(wheel, into)
        names.append(" ".join(wheel.name.split("-")[:2]))
    shutil.rmtree(wheels)
    return names


def download(
    packages: Sequence[str], target: WheelTarget, into: Path, env: Mapping[str, str], lock: Path = LOCK
) -> None:
    """Let pip download wheels for that system, and their dependencies, with the versions and hashes of the lock.

    Raises:
        StateError, MissingProgram, CommandFailed, DeadlineError: as `gather`.
    """
    words = this_python("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input")
    words += ["--only-binary=:all:", "--python-version", "{}.{}".format(*target.python), "--dest", str(into)]
    words += [f"--platform={platform}" for platform in target.platforms]
    asked = into / "asked.txt"
    asked.write_text("".join(f"{line}\n" for line in locked(packages, target, lock.read_text())))
    try:
        # The dependencies are in the lock; pip would evaluate their markers for this system, not for the target.
        run([*words, "--no-deps", "--require-hashes", "-r", asked], timeout_s=_PIP_S, env=env or None)
    except CommandFailed as failure:
        raise _explained(failure, target) from failure
    finally:
        asked.unlink()


def locked(packages: Iterable[str], target: WheelTarget, lock: str) -> list[str]:
    """The lines of a lock for `packages` on that system, and for their dependencies, in pip's format.

    Other packages of an agent or its Python are left out; the rest of the lock are dependencies.

    Raises:
        StateError: one of the packages is not in it.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    asked = set(map(canonicalize_name, packages))
    others = {canonicalize_name(name) for some in PACKAGES.values() for name in some} | {FETCHER}
    python = "{}.{}".format(*target.python)
    system = "darwin" if target.platforms[0].startswith("macosx") else "linux"
    place = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": system}
    found = {}
    for entry in lock.replace("\\\n", " ").splitlines():
        text, _, hashes = entry.partition(" --hash=")
        if not hashes or entry.startswith("#"):
            continue
        one = Requirement(text)
        name = canonicalize_name(one.name)
        if (name in asked or name not in others) and (one.marker is None or one.marker.evaluate(place)):
            found[name] = f"{one.name}{one.specifier} --hash={hashes}"
    if missing := asked - found.keys():
        raise StateError(f"Pommel's lock for guests has no {', '.join(sorted(missing))} for Python {python}")
    return list(found.values())


def _explained(failure: CommandFailed, target: WheelTarget) -> Exception:
    if "No module named pip" in failure.output:
        return MissingProgram(
            "this Python has no pip to fetch the agent's libraries with",
            hint=shlex.join(this_python("-m", "ensurepip")),
        )
    if "DO NOT MATCH THE HASHES" in failure.output:
        told = failure.output.partition("DO NOT MATCH THE HASHES")[2].splitlines()
        which = next((line.strip().partition(" ")[0] for line in told if "==" in line), "a library")
        return StateError(
            f"{which} for the guest is not the file with which Pommel was tested, so it was not used",
            hint="check from where pip downloads packages: pip config list; or install the newest Pommel",
        )
    lines = [line for line in failure.output.splitlines() if line.startswith("ERROR:")]
    why = lines[-1].removeprefix("ERROR: ") if lines else failure.message
    if "No matching distribution" in failure.output and "Connection" not in failure.output:
        where = f"Python {target.python[0]}.{target.python[1]} on {target.platforms[-1]}"
        return StateError(f"the agent's libraries are not available for {where}: {why}")
    return failure


def unpack(wheel: Path, into: Path) -> None:
    """Unpack the importable files of a wheel into the folder `into`.

    Raises:
        StateError: it is not a wheel, or one of its files would leave that folder.
    """
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if path.is_absolute() or ".." in path.parts:
                raise StateError(f"{wheel.name} contains a path that leads outside of it: {entry.filename}")
            # x-1.data/purelib and /platlib are installed with the rest (PEP 427); scripts and headers are not needed
            # here.
            if path.parts[0].endswith(".data"):
                if path.parts[1:2] not in (("purelib",), ("platlib",)):
                    continue
                path = PurePosixPath(*path.parts[2:])
            if not entry.is_dir() and is_wanted(path):
                place = into / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(entry))
