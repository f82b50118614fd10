"""What of a folder is a machine's, and how it is taken away. Band: shell.

A machine's folder may be a link to one on another drive, where a person may keep other things too: of such a folder
only what is the machine's goes, and then the link. A disk that is a link is removed itself, never the file it leads to.
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

OWN_BOOT_DISK = "OpenCore.qcow2"  # a boot disk that was taken over with the machine
OWN_FIRMWARE = "firmware.fd"  # the firmware's code that its NVRAM belongs to, likewise
# The names of MachinePaths, and of what else Pommel and QEMU write there.
_OWN = (
    "machine.json", "mac_hdd_ng.img", "disk-*.qcow2", "nvram.fd", "nvram.fd.old-*", "firmware.fd", "OpenCore.qcow2",
    "adopt.json", "moved.json", "ssh", "snapshots", "session", "mesh", "qemu.pid", "run.json", "started.json",
    "forwards.json", "reverse.json", "usb.json", "backups.json", "shares.json", "shared.json", "shares.lock",
    "ended.json", "*.log", "*.log.*", "console.*", "vl.??????", ".mac_hdd_ng.img.*", ".disk-*", ".machine.json.*",
    "crash*",
)  # fmt: skip


def lost(directory: Path) -> Path | None:
    """What the machine's folder `directory` leads to, if it is a link to what is not there; else None."""
    return directory.readlink() if directory.is_symlink() and not directory.exists() else None


def refuse_lost(name: str, directory: Path) -> None:
    """See that the folder of machine `name` is no link to what is not there: nothing can be done there.

    Raises:
        StateError: it is one.
    """
    if (target := lost(directory)) is not None:
        raise StateError(
            f"the folder of {name} is a link to {target}, which does not exist",
            hint=f"mount its drive; or, if the drive no longer exists: rm {shlex.quote(str(directory))}",
        )


def take_away(directory: Path, doomed: Path) -> None:
    """Remove the machine's folder `directory`, by way of `doomed` beside it: out of sight in one step.

    Files elsewhere to which Pommel has moved its disks go too. A removal that is cut off leaves no half machine, but
    what `finish_taking` takes away.
    """
    if os.path.lexists(doomed):
        finish_taking(doomed)
    directory.rename(doomed)
    finish_taking(doomed)


def finish_taking(doomed: Path) -> None:
    """Remove a machine's folder, or the link to one, that has lost its name already."""
    for file in moved.own_files(doomed):
        file.unlink(missing_ok=True)
    real = Path(os.path.realpath(doomed))
    if not doomed.is_symlink():
        shutil.rmtree(doomed)
        return
    if not real.is_dir():  # its drive is gone
        doomed.unlink()
        return
    for entry in list(real.iterdir()):
        if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in _OWN):
            _remove(entry)
    with contextlib.suppress(OSError):  # what is not the machine's stays, and so does its folder
        real.rmdir()
    doomed.unlink()


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()
