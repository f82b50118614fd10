"""Makes a copy of a boot disk with a few changed values in its config.plist. Band: shell.

Everything else stays as it is on the image: partition table, file systems, kexts, drivers, and the configuration that
fits them. So it boots wherever the image boots, which a disk that is packed from an upstream's folder may not: in some
commits of OSX-KVM, folder and config.plist are not of one moment. Nothing is mounted.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from pommel import private, process
from pommel.errors import BuildError, CommandFailed, StateError
from pommel.files import put_in_place
from pommel.opencore import config, reading
from pommel.opencore.config import ConfigChange
from pommel.opencore.options import Options
from pommel.progress import Progress, Report, ignore, note

_REWORKER = "1"  # raise it when this code makes something else of the same inputs
_STEP = "opencore"
_TIMEOUT_S = 120.0


def rework(
    image: Path, target: Path, *, options: Options, image_format: str = "qcow2", report: Report = ignore
) -> tuple[ConfigChange, ...]:
    """Make the qcow2 boot disk `target` from `image`, with `options` in its config.plist. Return what was changed.

    `target` is written whole or not at all; one that is there is replaced. `image` is only read.

    Raises:
        StateError: there is no config.plist of OpenCore on the image.
        UpstreamError: its configuration cannot be used.
        BuildError: there is no room, on the host or on the image's own file system.
        MissingProgram: qemu-img or mtools is not installed.
    """
    report(Progress(_STEP, f"a boot disk from {image.name}"))
    try:
        private.make_folder(target.parent)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.building.", dir=target.parent) as folder:
            raw, disk = Path(folder) / "raw", Path(folder) / "disk"
            found = reading.find_config(image, raw, image_format=image_format)
            if found.name != reading.OPENCORE:
                raise StateError(f"{image.name} boots with Clover, and Pommel cannot change Clover's configuration")
            changed, changes = config.adjust(config.read(found.data, f"config.plist on {image.name}"), options)
            _put(raw, found, config.write(changed), Path(folder))
            process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk], timeout_s=_TIMEOUT_S)
            disk.chmod(private.FILE)
            with disk.open("rb") as file:  # a rename must not overtake the bytes of what it publishes
                os.fsync(file.fileno())
            put_in_place(disk, target)
    except (OSError, CommandFailed) as failure:
        raise BuildError(f"{target} cannot be created: {failure}") from failure
    for change in changes:
        note(report, f"OpenCore's {change}")
    report(Progress(_STEP, finished=True))
    return changes


def key(images: list[Path], options: Options) -> str:
    """Name the disk that `rework` would make: 16 hexadecimal digits. `images` are the image and those it lies over.

    Raises:
        BuildError: one of them cannot be read.
    """
    inputs = hashlib.sha256(f"rework {_REWORKER}\0{json.dumps(options.as_values(), sort_keys=True)}\0".encode())
    for image in images:
        try:
            with image.open("rb") as file:
                inputs.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as failure:
            raise BuildError(f"{image} cannot be read: {failure.strerror}") from failure
    return inputs.hexdigest()[:16]


def _put(raw: Path, found: reading.FoundConfig, data: bytes, folder: Path) -> None:
    """Write the configuration to its file system, and check it by reading it again.

    Raises:
        BuildError: it does not fit, or is not what was written.
    """
    new, back = folder / "config.plist", folder / "back.plist"
    new.write_bytes(data)
    place = f"{raw}@@{found.offset}"
    try:
        process.run(["mcopy", "-o", "-i", place, new, found.name], env=reading.ENV, timeout_s=_TIMEOUT_S)
        process.run(["mcopy", "-n", "-i", place, found.name, back], env=reading.ENV, timeout_s=_TIMEOUT_S)
    except CommandFailed as failure:
        raise BuildError(f"config.plist cannot be written on the boot disk: {failure.message}") from failure
    if back.read_bytes() != data:
        raise BuildError("config.plist on the boot disk is not what was written: its file system may be full")
