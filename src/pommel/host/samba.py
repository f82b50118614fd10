"""Samba's smbd on this host: where it is, which version, and whether it has what Macs want of it. Band: shell.

It is not the host's own file server: of that nothing is used, and nothing is changed.
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
# Where programs and what they load lie: with these shown, nothing else of the host is needed.
_ROOTS = ("/usr", "/nix/store", "/gnu/store")
_SHORT = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Ubuntu from 23.10 on lets no program without a profile of its own make user namespaces (apparmor_userns).
_USERNS = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


@dataclass(frozen=True, slots=True)
class Smbd:
    """An smbd, and the sandbox for it: `for_macs` if it has the modules that keep a Mac's forks and names."""

    path: str
    version: str
    for_macs: bool
    bwrap: str


def is_there() -> bool:
    """Whether what sharing takes is installed. Nothing is started."""
    return not packages.missing(SHARE_NEEDS)


def find() -> Smbd:
    """The smbd of this host, asked for its version and modules, and a bubblewrap that works.

    Raises:
        MissingProgram: one of them is not installed; the hint is what installs them.
        CommandFailed, DeadlineError: smbd cannot be asked.
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
    """What to type for the programs that are not here."""
    try:
        plan = packages.install_plan(packages.missing(SHARE_NEEDS))
    except MissingProgram as unknown:
        return unknown.hint or unknown.message
    own = "sudo systemctl disable --now smbd nmbd"
    return plan.as_text + (f"; its own server, which Pommel does not need: {own}" if plan.family == "apt" else "")


def roots() -> list[str]:
    """The options of bwrap(1) that show the programs of this host, and nothing that anybody works with."""
    words = [word for folder in _ROOTS if Path(folder).is_dir() for word in ("--ro-bind", folder, folder)]
    for folder in _SHORT:
        if Path(folder).is_symlink():
            words += ["--symlink", str(Path(folder).readlink()), folder]
        elif Path(folder).is_dir():
            words += ["--ro-bind", folder, folder]
    return words
