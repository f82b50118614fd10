"""`pommel opencore build`: an EFI folder and a config.plist become a disk that boots into OpenCore. Band: shell.

The disk is a bare FAT file system in a qcow2: OVMF finds EFI/BOOT/BOOTx64.efi on it without a partition table. The
upstream's files are only read; what is changed is changed in the packed copy. What a configuration means is `config`'s.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pommel import private, process, texts
from pommel.errors import BuildError, CommandFailed, UpstreamError
from pommel.fat import make_fat
from pommel.files import put_in_place
from pommel.opencore import config as plist
from pommel.opencore import needed, reading, tree
from pommel.opencore.config import ConfigChange, Missing
from pommel.opencore.options import Options
from pommel.opencore.own_disk import needs_build
from pommel.progress import Progress, Report, ignore, note, warn

__all__ = ["Built", "Options", "build", "key", "needs_build"]

_BUILDER = "1"  # raise it when this code makes something else of the same inputs
_STEP = "opencore"
_LABEL = "OPENCORE"
_CONFIG = "EFI/OC/config.plist"
_NEEDED = ("EFI/BOOT/BOOTx64.efi", "EFI/OC/OpenCore.efi")
_CONFIG_MAX = 16 << 20
_IMG_HINT = "install qemu-img (Debian: qemu-utils)"
_TIMEOUT_S = 120.0
_DEFAULT = Options()


@dataclass(frozen=True, slots=True)
class Built:
    """A built disk: its path, the entries that were turned off, and the changes that were asked for."""

    path: Path
    disabled: tuple[Missing, ...]
    changes: tuple[ConfigChange, ...]


def build(
    efi: Path,
    config: Path,
    target: Path,
    *,
    root: Path | None = None,
    options: Options = _DEFAULT,
    report: Report = ignore,
) -> Built:
    """Pack the folder `efi` with `config` as its EFI/OC/config.plist into the qcow2 disk `target`, whole or not at all.

    Symbolic links are followed as far as `root` goes, the upstream's folder (default: `efi` itself). A `target` that is
    there is replaced; who has it open keeps the old one. `paths.sweep_aside(target)` removes what
    a killed build leaves.

    Raises:
        UpstreamError: a file of OpenCore is missing, a link leads out of `root`, the configuration cannot be used, or a
            kext that macOS needs would be left out.
        BuildError: no room, or a file that cannot be packed.
        MissingProgram: mkfs.vfat, mtools or qemu-img is not installed.
    """
    process.which("qemu-img", hint=_IMG_HINT)
    report(Progress(_STEP, "building OpenCore's boot disk"))
    files = _read_tree(efi, root or efi)
    given = plist.read(_read_config(config, root or efi), str(config))
    fitting, disabled = plist.disable_missing(given, _below_oc(files))
    changed, changes = plist.adjust(fitting, options)
    _refuse_without(disabled, files, changed)
    for missing in disabled:
        warn(report, f"turned off in OpenCore's configuration, because OpenCore would stop without the file: {missing}")
    for change in changes:
        note(report, f"OpenCore's {change}")
    _pack({**files, _CONFIG: plist.write(changed)}, target)
    report(Progress(_STEP, finished=True))
    return Built(target, disabled, changes)


def key(efi: Path, config: Path, options: Options = _DEFAULT, *, root: Path | None = None) -> str:
    """Name the disk that `build` would make by all that goes into it: 16 hexadecimal digits.

    Raises:
        UpstreamError: a file of OpenCore is missing or cannot be read, or a link leads out of `root`.
    """
    inputs = hashlib.sha256(f"{_BUILDER}\0{json.dumps(options.as_values(), sort_keys=True)}\0".encode())
    inputs.update(hashlib.sha256(_read_config(config, root or efi)).digest())
    for name, path in sorted(_read_tree(efi, root or efi).items()):
        inputs.update(name.encode() + b"\0" + _digest(path))
    return inputs.hexdigest()[:16]


def _pack(files: Mapping[str, Path | bytes], target: Path) -> None:
    try:
        private.make_folder(target.parent)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.building.", dir=target.parent) as folder:
            raw, disk = Path(folder) / "raw", Path(folder) / "disk"
            make_fat(raw, files, label=_LABEL)
            process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk], timeout_s=_TIMEOUT_S)
            disk.chmod(private.FILE)
            _sync(disk)
            put_in_place(disk, target)
    except (OSError, CommandFailed) as failure:
        raise BuildError(f"{target} cannot be created: {failure}") from failure


def _read_tree(efi: Path, root: Path) -> dict[str, Path]:
    """Every file of the folder by its path on the disk, but for the config.plist that will be replaced."""
    there = {f"EFI/{name}": path for name, path in tree.read(efi, root).items()}
    found = {name: path for name, path in there.items() if name.upper() != _CONFIG.upper()}
    known = {name.upper() for name in found}
    for name in _NEEDED:
        if name.upper() not in known:
            raise UpstreamError(
                f"{efi} is not an OpenCore folder: it has no {name}", hint="it must contain BOOT and OC"
            )
    return found


def _refuse_without(disabled: tuple[Missing, ...], files: Mapping[str, Path], config: Mapping[str, Any]) -> None:
    """Check that no kext that macOS needs is left out: such a disk would stop at boot without a message."""
    infos = {PurePosixPath(name).parents[1].name: path for name, path in files.items() if _is_info(name)}
    contents = {name: _read_info(path) for name, path in infos.items()}
    if (found := needed.without(disabled, contents, reading.numbers(config).get("model"))) is None:
        return
    missing, why = found
    meant = needed.meant(missing, infos)
    hint = f"there is a {meant}: set BundlePath to that in config.plist" if meant else "put its folder there"
    raise UpstreamError(
        f"a boot disk built from this folder would not contain {missing}, and {why}",
        hint=f"{hint}; or, if you do not need it, set Enabled to false for its entry of config.plist",
    )


def _is_info(name: str) -> bool:
    folder, _, rest = name.rpartition(".kext/")
    return bool(folder) and rest == "Contents/Info.plist"


def _read_info(path: Path) -> bytes:
    # `_pack` reads all of them, and says what it cannot.
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(_CONFIG_MAX)
    return b""


def _below_oc(files: Mapping[str, Path]) -> list[str]:
    start = "EFI/OC/"
    return [name[len(start) :] for name in files if name.upper().startswith(start)]


def _read_config(config: Path, root: Path) -> bytes:
    if config.absolute().is_relative_to(root.absolute()):
        tree.inside(config, root)
    return texts.read_bytes(config, error=UpstreamError, most=_CONFIG_MAX)


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as failure:
        raise UpstreamError(f"{path} cannot be read: {failure.strerror}") from failure


def _sync(path: Path) -> None:
    """Sync the file before it is renamed: after a power cut, the new name must not have incomplete contents."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
