"""Reads a guest system before the agent is installed: a script for its shell, and its answer. Band: core, no I/O.

The script runs over SSH before any file of Pommel is there, so it is written in sh, for both Linux and macOS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pommel.errors import StateError
from pommel.session.places import System

PREFIX = "/opt/pommel-session"
OLDEST_PYTHON = (3, 11)
_GLIBC_OLDEST = 17  # manylinux2014 (PEP 599)
_KERNELS: dict[str, System] = {"Linux": "linux", "Darwin": "macos"}
_MACHINE = re.compile(r"[A-Za-z0-9_]{0,32}")  # it becomes a part of file names
_ASKED_OF_PYTHON = (
    "import asyncio, ctypes, os, platform, sys; "
    "print('python=' + os.path.realpath(sys.executable), '%d.%d' % sys.version_info[:2], platform.libc_ver()[1] or '-')"
)
# The places of Pythons that are not on PATH in a login without a terminal. A Mac's own is too old; without Apple's
# developer tools it asks the user at the screen to install them.
QUESTION = f"""\
echo "kernel=$(uname -s)"
echo "machine=$(uname -m)"
echo "release=$(sw_vers -productVersion 2>/dev/null || uname -r)"
echo "user=$(id -un)"
if [ "$(id -u)" = 0 ]; then echo root=self; elif sudo -n true 2>/dev/null; then echo root=sudo; fi
if [ -e {PREFIX}/VERSION ]; then echo "installed=$(cat {PREFIX}/VERSION)"; fi
[ "$(uname -s)" = Darwin ] && usual= || usual="/usr/bin"
for folder in $usual /usr/local/bin /opt/homebrew/bin /Library/Frameworks/Python.framework/Versions/3.*/bin; do
    for name in python3 python3.11 python3.12 python3.13 python3.14; do
        [ -x "$folder/$name" ] && "$folder/$name" -I -c "{_ASKED_OF_PYTHON}" 2>/dev/null
    done
done
exit 0
"""


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter; `glibc` is the C library's version, () for another C library."""

    path: str
    version: tuple[int, int]
    glibc: tuple[int, int] | tuple[()] = ()


@dataclass(frozen=True, slots=True)
class GuestSystem:
    """The answer. `root` is the way to become root ("self", "sudo", "" if neither), `installed` our version there."""

    system: System
    machine: str
    release: str
    user: str
    root: str
    installed: str
    pythons: tuple[Python, ...]

    @property
    def python(self) -> Python | None:
        """The newest suitable Python."""
        good = [python for python in self.pythons if python.version >= OLDEST_PYTHON]
        return max(good, key=lambda python: python.version, default=None)


def read_answer(text: str) -> GuestSystem:
    """Parse the output of QUESTION.

    Raises:
        StateError: the agent cannot run on this system.
    """
    told: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        told.setdefault(key, []).append(value.strip())
    first = {key: values[0] for key, values in told.items()}
    if first.get("kernel") not in _KERNELS:
        raise StateError(f"a session of {first.get('kernel') or 'that system'} is not supported")
    if not _MACHINE.fullmatch(first.get("machine", "")):
        raise StateError(f"a session of a {first.get('machine') or 'machine without a name'} is not supported")
    pythons = dict.fromkeys(filter(None, map(_python, told.get("python", []))))
    return GuestSystem(
        system=_KERNELS[first["kernel"]],
        machine=first.get("machine", ""),
        release=first.get("release", ""),
        user=first.get("user", ""),
        root=first.get("root", ""),
        installed=first.get("installed", ""),
        pythons=tuple(pythons),
    )


def platforms(guest: GuestSystem, glibc: tuple[int, int] | tuple[()] = ()) -> tuple[str, ...]:
    """The wheels' platforms that run there, the narrowest last (PEP 600; pip(1) widens those of macOS itself).

    Raises:
        StateError: none is known.
    """
    if guest.system == "macos":
        major = int(found[0]) if (found := re.match(r"[0-9]{1,4}", guest.release)) else 11
        return (f"macosx_{max(major, 11)}_0_{guest.machine}",)
    if not glibc or glibc < (2, _GLIBC_OLDEST):
        raise StateError(
            "the guest's Python has a C library that is not glibc, or is very old",
            hint="the agent's compiled libraries need glibc 2.17 or newer",
        )
    minors = range(_GLIBC_OLDEST, glibc[1] + 1)
    return (*(f"manylinux_2_{minor}_{guest.machine}" for minor in reversed(minors)), f"manylinux2014_{guest.machine}")


def _python(text: str) -> Python | None:
    found = re.fullmatch(r"(/\S+) ([0-9]{1,3})\.([0-9]{1,3}) (?:([0-9]{1,3})\.([0-9]{1,3})|\S+)", text)
    # A Python in a user's home could be changed by that user.
    if found is None or found[1].split("/")[1:2] in (["home"], ["Users"], ["root"]):
        return None
    glibc = (int(found[4]), int(found[5])) if found[4] else ()
    return Python(found[1], (int(found[2]), int(found[3])), glibc)
