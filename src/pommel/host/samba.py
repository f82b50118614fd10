"""Samba's smbd on this host: its path, its version, and its modules for Macs. Band: shell.

It is independent of the host's own file server: nothing of that is used or changed.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import CommandFailed, DeadlineError, MissingProgram
from pommel.host import packages
from pommel.host.needs import SHARE_NEEDS
from pommel.process import run, which

_ASK_S = 10.0
_MODULES = re.compile(r"^\s*MODULESDIR: (/.+)$", re.MULTILINE)
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")
_FOR_MACS = ("fruit.so", "catia.so", "streams_xattr.so")
# The folders of programs and their libraries: nothing else of the host is needed in the sandbox.
_ROOTS = ("/usr", "/nix/store", "/gnu/store")
_SHORT = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Ubuntu since 23.10 allows user namespaces only to programs with an own profile (apparmor_userns).
_USERNS = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


@dataclass(frozen=True, slots=True)
class Smbd:
    """An smbd, and the sandbox for it: `for_macs` if it has the modules for a Mac's resource forks and names."""

    path: str
    version: str
    for_macs: bool
    bwrap: str


def is_there() -> bool:
    """Whether the programs for sharing are installed. Nothing is started."""
    return not packages.missing(SHARE_NEEDS)


def find() -> Smbd:
    """The smbd of this host, with its version and modules, and a bubblewrap that works.

    Raises:
        MissingProgram: one of them is not installed; the hint is how to install it.
        CommandFailed, DeadlineError: smbd cannot be queried.
    """
    if lacking := packages.missing(SHARE_NEEDS):
        what = " and ".join(need.name for need in lacking)
        raise MissingProgram(f"sharing folders needs {what}, which this host does not have", hint=how_to_install())
    found = which("smbd")
    told = run([found, "-b"], timeout_s=_ASK_S).text
    modules, version = _MODULES.search(told), _VERSION.search(run([found, "--version"], timeout_s=_ASK_S).text)
    folder = Path(modules[1]) / "vfs" if modules else Path("/")
    has_all = all((folder / name).exists() for name in _FOR_MACS)
    return Smbd(os.path.realpath(found), version[0] if version else "unknown", has_all, _bwrap())


@functools.cache
def _bwrap() -> str:
    found = which("bwrap")
    try:
        run(
            [found, "--unshare-all", "--unshare-user", "--uid", "1000", "--ro-bind", "/", "/", "true"], timeout_s=_ASK_S
        )
    except (CommandFailed, DeadlineError) as failure:
        hint = f"{found} --unshare-user --ro-bind / / true shows the reason"
        if _USERNS.exists() and _USERNS.read_text().strip() == "1":
            hint = "AppArmor forbids it: install a profile for bwrap (bwrap-userns-restrict, in apparmor-profiles)"
        raise MissingProgram(
            "bubblewrap cannot create a sandbox here, and smbd is not started without one", hint=hint
        ) from failure
    return found


def how_to_install() -> str:
    """The command that installs the missing programs."""
    try:
        plan = packages.install_plan(packages.missing(SHARE_NEEDS))
    except MissingProgram as unknown:
        return unknown.hint or unknown.message
    own = "sudo systemctl disable --now smbd nmbd"
    return plan.as_text + (f"; its own server, which Pommel does not need: {own}" if plan.family == "apt" else "")


def roots() -> list[str]:
    """The options of bwrap(1) that show the programs of this host, and no data of any user."""
    words = [word for folder in _ROOTS if Path(folder).is_dir() for word in ("--ro-bind", folder, folder)]
    for folder in _SHORT:
        if Path(folder).is_symlink():
            words += ["--symlink", str(Path(folder).readlink()), folder]
        elif Path(folder).is_dir():
            words += ["--ro-bind", folder, folder]
    return words
