"""The files of a machine in a folder, and their removal. Band: shell.

A machine's folder may be a link to one on another drive, in which a person may keep other files too: there only the
machine's own files are removed, and then the link. A disk that is a link is removed itself, but not its target.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shlex
import shutil
from pathlib import Path

from pommel.errors import StateError
from pommel.machine import moved

OWN_BOOT_DISK = "OpenCore.qcow2"  # a boot disk that was adopted with the machine
OWN_FIRMWARE = "firmware.fd"  # the firmware's code that matches its NVRAM, adopted too
# The names of MachinePaths, and of other files that Pommel and QEMU write there.
_OWN = (
    "machine.json", "mac_hdd_ng.img", "disk-*.qcow2", "nvram.fd", "nvram.fd.old-*", "firmware.fd", "OpenCore.qcow2",
    "adopt.json", "moved.json", "ssh", "snapshots", "session", "mesh", "qemu.pid", "run.json", "started.json",
    "forwards.json", "reverse.json", "usb.json", "backups.json", "shares.json", "shared.json", "shares.lock",
    "ended.json", "*.log", "*.log.*", "console.*", "vl.??????", ".mac_hdd_ng.img.*", ".disk-*", ".machine.json.*",
    "crash*", "lease.json", "copy-out.json", "memory", "recipe.json", "recipe.lock", "unattended.*",
)  # fmt: skip


def lost(directory: Path) -> Path | None:
    """The target of the machine's folder `directory`, if it is a link to a path that does not exist; else None."""
    return directory.readlink() if directory.is_symlink() and not directory.exists() else None


def refuse_lost(name: str, directory: Path) -> None:
    """Check that the folder of machine `name` is not a link to a path that does not exist: nothing can be done there.

    Raises:
        StateError: it is one.
    """
    if (target := lost(directory)) is not None:
        raise StateError(
            f"the folder of {name} is a link to {target}, which does not exist",
            hint=f"mount its drive; or, if the drive no longer exists: rm {shlex.quote(str(directory))}",
        )


def take_away(directory: Path, doomed: Path) -> None:
    """Remove the machine's folder `directory`: rename it to `doomed` beside it in one step, then delete that.

    Files elsewhere to which Pommel has moved its disks are removed too. An interrupted removal leaves no partial
    machine, only a folder that `finish_taking` removes.
    """
    if os.path.lexists(doomed):
        finish_taking(doomed)
    directory.rename(doomed)
    finish_taking(doomed)


def finish_taking(doomed: Path) -> None:
    """Remove a machine's folder, or the link to one, that has already lost its name."""
    for file in moved.own_files(doomed):
        file.unlink(missing_ok=True)
    real = Path(os.path.realpath(doomed))
    if not doomed.is_symlink():
        shutil.rmtree(doomed)
        return
    if not real.is_dir():  # its drive is disconnected
        doomed.unlink()
        return
    for entry in list(real.iterdir()):
        if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in _OWN):
            _remove(entry)
    with contextlib.suppress(OSError):  # other files stay, and so does their folder
        real.rmdir()
    doomed.unlink()


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
