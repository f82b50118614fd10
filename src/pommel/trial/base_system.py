"""The disk "Trial Base System": a stand-in for macOS Recovery, made only on request. Band: shell.

It is the base image with another label and with the files of data/base_system, so it takes some seconds and no
packages. It is in the trial upstream as BaseSystem.img, where the boot script looks for an installer.
Its abilities and limits: docs/unattended.md, "The stand-in".
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from pommel import private, process
from pommel.errors import BuildError
from pommel.files import put_in_place, write_atomic
from pommel.progress import Progress, Report
from pommel.trial.base import BaseImage
from pommel.trial.injecting import GuestFile, inject, parents
from pommel.trial.upstream import BASE_SYSTEM, BASE_SYSTEM_STAMP, changing

LABEL = "TrialBase"  # data/picker/grub.cfg finds it by this
_DATA = Path(__file__).parent / "data" / "base_system"
_STEP = "trial base system"
_BUILDER = "1"  # increase it when this code makes a different result from the same files


def provide(upstream: Path, base: BaseImage, *, report: Report) -> Path:
    """Make BaseSystem.img in the trial upstream that `upstream.materialise` has made from `base`; return its path.

    It holds the upstream's own lock: if the folder were replaced meanwhile, the new disk would be lost.

    Raises:
        BusyError: another process has been changing the upstream for two minutes.
        BuildError: the base image is damaged, or the upstream does not exist.
        CommandFailed, MissingProgram: debugfs, tune2fs or cp failed, as on a full disk, or is not installed.
    """
    image, stamp = upstream / BASE_SYSTEM, upstream / BASE_SYSTEM_STAMP
    wanted = f"{base.key} {_key()}\n"
    with changing(upstream):
        if not upstream.is_dir():  # a folder with only this disk in it would count as an upstream
            raise BuildError(f"{upstream} does not exist", hint="run the same command again")
        if not image.exists() or not stamp.exists() or stamp.read_text() != wanted:
            _make(image, base, report)
            write_atomic(stamp, wanted)
    return image


def _make(image: Path, base: BaseImage, report: Report) -> None:
    report(Progress(_STEP, "creating the stand-in for Recovery"))
    work = image.with_name(".BaseSystem.building")
    shutil.rmtree(work, ignore_errors=True)  # left by a killed build; the lock is held
    private.make_folder(work)
    try:
        raw = work / BASE_SYSTEM
        process.run(["cp", "--sparse=always", "--reflink=auto", base.root_image, raw])
        raw.chmod(private.FILE)
        files = _files()
        inject(raw, files, folders=[*parents(file.path for file in files), "/Volumes"])
        process.run([process.which("tune2fs"), "-L", LABEL, raw])
        put_in_place(raw, image)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report(Progress(_STEP, "the stand-in for Recovery is created", finished=True))


def _files() -> list[GuestFile]:
    """The files for the base; the first line marks a program, because an installed package keeps no modes."""
    found = []
    for path in _sources():
        data = path.read_bytes()
        mode = 0o755 if data.startswith(b"#!") else 0o644
        found.append(GuestFile("/" + path.relative_to(_DATA).as_posix(), data, mode))
    return found


def _sources() -> list[Path]:
    return sorted(path for path in _DATA.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _key() -> str:
    inputs = hashlib.sha256(_BUILDER.encode())
    for path in _sources():
        inputs.update(path.relative_to(_DATA).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return inputs.hexdigest()[:16]
