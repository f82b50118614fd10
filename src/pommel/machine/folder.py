"""What of a folder is a machine's, and how it is taken away. Band: shell.

A machine's folder may be a link to one on another drive, where a person may keep other things too: of such a folder
only what is the machine's goes, and then the link. A disk that is a link is removed itself, never the file it leads to.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
from pathlib import Path

OWN_BOOT_DISK = "OpenCore.qcow2"  # a boot disk that was taken over with the machine
OWN_FIRMWARE = "firmware.fd"  # the firmware's code that its NVRAM belongs to, likewise
# The names of MachinePaths, and of what else Pommel and QEMU write there.
_OWN = (
    "machine.json", "mac_hdd_ng.img", "disk-*.qcow2", "nvram.fd", "nvram.fd.old-*", "firmware.fd", "OpenCore.qcow2",
    "adopt.json", "ssh", "snapshots", "session", "mesh", "qemu.pid", "run.json", "started.json", "ended.json", "*.log",
    "*.log.*", "console.*", "vl.??????", ".mac_hdd_ng.img.*", ".disk-*", ".machine.json.*", "crash*",
)  # fmt: skip


def take_away(directory: Path, doomed: Path) -> None:
    """Remove the machine's folder `directory`, by way of `doomed` beside it: out of sight in one step.

    A removal that is cut off leaves no half machine, but at most what `sweep_aside` collects.
    """
    if os.path.lexists(doomed):
        _remove(doomed)
    real = Path(os.path.realpath(directory))
    linked = directory.is_symlink()
    directory.rename(doomed)
    if not linked:
        shutil.rmtree(doomed)
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
