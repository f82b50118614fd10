"""Chooses the QEMU to start: the setting's, else the boot script's, else the host's. Band: shell.

Distributions have it in different places: RHEL and its rebuilds only in /usr/libexec (`rpm -ql qemu-kvm-core`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pommel import account
from pommel.errors import MissingProgram
from pommel.process import which

QEMU = "qemu-system-x86_64"
HINT = "to install what is missing: pommel up NAME"
_USUAL = (QEMU, "qemu-kvm", "/usr/libexec/qemu-kvm", "kvm")


@dataclass(frozen=True, slots=True)
class Binary:
    """The program to start in the form in which it is called, its path, the reason for it, and a warning."""

    program: str
    path: Path
    reason: str
    warning: str = ""


def choose(named: str, folder: Path, asked: str | None = None) -> Binary:
    """Choose for a boot script that calls `named` in `folder`; `asked` is the setting `qemu`.

    Raises:
        MissingProgram: that QEMU does not exist, or there is none at all.
    """
    if asked is not None:
        place = _where(asked, folder)
        if place is None:
            raise MissingProgram(
                f"qemu is {asked}, but there is no such program", hint="set qemu to the path of a QEMU"
            )
        return Binary(asked if "/" not in asked else str(place), place, f"asked for: qemu = {asked}")
    if (place := _where(named, folder)) is not None:
        return Binary(named if "/" not in named else str(place), place, "the boot script's own")
    program, place = _hosts()
    warning = (
        f"the boot script starts {named}, which is not on this host, so {place} is started. To choose "
        "another one, set qemu"
    )
    return Binary(program, place, f"the boot script's own ({named}) does not exist", warning)


def host_qemu(asked: str | None = None) -> Path | None:
    """The QEMU that answers a script's questions: the setting's, else the host's; None: there is none."""
    try:
        return installed(asked)
    except MissingProgram:
        return None


def installed(asked: str | None = None) -> Path:
    """The QEMU whose features are queried before a boot script has named one.

    Raises:
        MissingProgram: there is none.
    """
    return Path(which(asked, hint="set qemu to the path of a QEMU")) if asked is not None else _hosts()[1]


def _hosts() -> tuple[str, Path]:
    for program in _USUAL:
        try:
            return program, Path(which(program))
        except MissingProgram:
            continue
    raise MissingProgram(f"{QEMU} is not installed", hint=HINT)


def _where(program: str, folder: Path) -> Path | None:
    """A program by its name on PATH, or by its path, which may be relative to the script's folder."""
    if "/" in program:
        program = str((folder / account.expand(program)).absolute())
    try:
        return Path(which(program))
    except MissingProgram:
        return None
