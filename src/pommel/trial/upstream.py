"""The trial machine's upstream: a folder with OSX-KVM's structure, made for this host. Band: shell.

For the overlay it is an upstream like any other. It contains the boot script that Pommel ships, the picker of a base
image, and a matching firmware pair of the host's OVMF package.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pommel import locks, ovmf
from pommel.errors import FirmwareError
from pommel.paths import build_aside, sweep_aside
from pommel.trial.base import BaseImage

SCRIPT = "OpenCore-Boot.sh"
EMBEDDED = Path(__file__).parent / "data" / "upstream"
BASE_SYSTEM, BASE_SYSTEM_STAMP = "BaseSystem.img", ".BaseSystem.made-from"  # added by `base_system`
_STAMP = ".made-from"
_WAIT_S = 120.0  # building the stand-in for Recovery takes some seconds, on a slow host longer
# Code and variables of one build fill one flash chip; with another pair the guest's variables are not stored.
_FLASH_BYTES = 4 << 20


@contextlib.contextmanager
def changing(directory: Path) -> Iterator[None]:
    """Hold the lock of the trial upstream in `directory`, while it is created, replaced or extended.

    Raises:
        BusyError: another process has held it for two minutes.
    """
    lock = directory.with_name(f".{directory.name}.lock")
    with locks.hold(lock, busy=f"another Pommel is creating {directory}", wait_s=_WAIT_S):
        yield


def materialise(directory: Path, base: BaseImage) -> Path:
    """Make `directory` the trial upstream of `base` if it is not yet, and return it.

    Raises:
        FirmwareError: this host has no 4 MiB OVMF pair.
        BusyError: another process has been changing it for two minutes.
    """
    code, variables = firmware_pair()
    stamp = _stamp(base, code, variables)
    with changing(directory):
        if _read(directory / _STAMP) != stamp:
            sweep_aside(directory)
            with build_aside(directory) as aside:
                _fill(aside, base, code, variables)
                _keep_base_system(directory, aside)
                (aside / _STAMP).write_text(stamp)
    return directory


def _fill(aside: Path, base: BaseImage, code: Path, variables: Path) -> None:
    shutil.copytree(EMBEDDED, aside, dirs_exist_ok=True)
    (aside / SCRIPT).chmod(0o755)
    (aside / "OpenCore").mkdir()
    shutil.copyfile(base.picker, aside / "OpenCore" / "OpenCore.qcow2")
    shutil.copyfile(code, aside / "OVMF_CODE_4M.fd")
    shutil.copyfile(variables, aside / "OVMF_VARS-1280x800.fd")


def exists(directory: Path) -> bool:
    """Whether there is a trial upstream in `directory`. During a replacement there is no folder, so this waits."""
    if directory.is_dir():
        return True
    with changing(directory):
        return directory.is_dir()


def _keep_base_system(old: Path, new: Path) -> None:
    """Link the stand-in for Recovery into the new folder: a machine that was made with it needs it at its next start.

    Its own stamp shows whether it is current; without hard links, `base_system.provide` builds it again.
    """
    for name in (BASE_SYSTEM, BASE_SYSTEM_STAMP):
        with contextlib.suppress(OSError):
            os.link(old / name, new / name)


def firmware_pair(root: Path = Path("/")) -> tuple[Path, Path]:
    """The host's OVMF code of 4 MiB and the empty variables of the same build.

    Raises:
        FirmwareError: there is none, or only parts that do not match.
    """
    for folder, code_name, variables_name in ovmf.PAIRS:
        code, variables = (root / folder.lstrip("/") / name for name in (code_name, variables_name))
        if code.is_file() and variables.is_file() and _fills_flash(code, variables):
            return code, variables
    raise FirmwareError("this host has no matching pair of OVMF's code and variables of 4 MiB", hint=ovmf.INSTALL)


def _fills_flash(code: Path, variables: Path) -> bool:
    return code.stat().st_size + variables.stat().st_size == _FLASH_BYTES


def _stamp(base: BaseImage, *firmware: Path) -> str:
    shipped = hashlib.sha256()
    for path in sorted(p for p in EMBEDDED.rglob("*") if p.is_file()):
        shipped.update(path.name.encode() + b"\0" + path.read_bytes())
    parts = [f"base {base.key}", f"shipped {shipped.hexdigest()}"]
    parts += [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in firmware]
    return "\n".join(parts) + "\n"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
