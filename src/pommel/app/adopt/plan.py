"""Plan an adoption: which files go where, which values are taken over, and reasons to refuse. Band: app."""

from __future__ import annotations

import datetime
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pommel import account
from pommel.adopt.found import InstalledMac, TakenValue
from pommel.app.adopt.recognise import BARE, recognise
from pommel.app.disk import encryption
from pommel.app.workspace import OSX_KVM, Workspace
from pommel.errors import PommelError, StateError, UsageError
from pommel.machine import disk, firmware, identity, own_disks, record, taking
from pommel.machine.folder import OWN_BOOT_DISK, OWN_FIRMWARE
from pommel.machine.smbios import check_mlb, check_serial
from pommel.opencore import reading
from pommel.paths import MachinePaths
from pommel.recovery import catalog
from pommel.settings import format_size

MODES = ("copy", "move", "in-place")
_EMPTY_BYTES = 256 << 20  # a disk with less data cannot have macOS on it
_APPLE = ("model", "serial", "mlb", "rom")


@dataclass(frozen=True, slots=True)
class Item:
    """One file: what it is, its source and target, its size on the host, and what is done with it."""

    what: str
    source: str
    target: str
    size_bytes: int
    how: str  # copied, converted, moved, linked


@dataclass(frozen=True, slots=True)
class AdoptPlan:
    """The whole plan to adopt `source` as machine `name`. Its record is complete except for the SSH port."""

    source: str
    kind: str
    name: str
    mode: str
    items: tuple[Item, ...]
    taken: Mapping[str, TakenValue]
    made: record.MachineRecord
    disk_format: str
    flattened: bool
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The plan as one JSON object."""
        shown = {key: asdict(value) for key, value in self.taken.items()}
        return {
            "source": self.source, "kind": self.kind, "name": self.name, "mode": self.mode,
            "upstream": self.made.upstream, "files": [asdict(item) for item in self.items],
            "taken": shown, "warnings": list(self.warnings),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Image:
    """The Mac's disk, by qemu-img."""

    path: Path
    format: str
    actual_bytes: int
    backing: str | None


def plan(path: Path, *, name: str | None = None, mode: str = "copy", workspace: Workspace) -> AdoptPlan:
    """Work out what adopting `path` would do. Nothing is changed.

    Raises:
        StateError: it cannot be adopted, or not in this mode, or not under this name; the message says why.
        UsageError: something in it cannot be read.
    """
    found = recognise(path)
    name = name or found.name
    paths = workspace.paths(name)
    if os.path.lexists(paths.directory):
        raise StateError(f"there is a machine called {name} already", hint=f"pommel adopt {path} --name OTHER")
    encryption.refuse_plain(workspace, name, "adopted")
    image = _image(found, mode)
    _refuse_ours(workspace, image.path)
    said, warnings = _numbers(found)
    taken = {**found.facts, **said}
    own_script = mode == "in-place" and found.script is not None
    settings = {"boot_script": TakenValue(found.script, found.kind)} if own_script else dict(found.settings)
    made, more = _record(workspace, name, found, taken, settings, own_script)
    converted = mode == "copy" and (image.format != "qcow2" or image.backing is not None)
    kept_format = "qcow2" if mode == "copy" else image.format
    items = _items(found, paths, image, mode, converted)
    warnings = [*found.warnings, *warnings, *more, *_said_of(found, image, mode, name, workspace, made)]
    return AdoptPlan(
        str(account.expand(path).absolute()), found.kind, name, mode, tuple(items), {**taken, **settings},
        replace(made, disk_format=None if kept_format == "qcow2" else kept_format),
        image.format, converted, tuple(dict.fromkeys(warnings)),
    )  # fmt: skip


def _image(found: InstalledMac, mode: str) -> _Image:
    """Read about the disk with qemu-img, and refuse it if it cannot be adopted in this mode."""
    path = Path(os.path.realpath(found.disk))
    if path.is_block_device():
        raise StateError(f"the disk {path} is a block device, and only files can be adopted")
    if not path.is_file():
        raise StateError(f"{found.kind} names the disk {found.disk}, but there is no such file")
    if not os.access(path, os.R_OK):
        raise StateError(f"{path} cannot be read by your user", hint=f"sudo chown $USER {shlex.quote(str(path))}")
    taking.refuse_if_used(path)
    declared = ["-f", found.disk_format] if found.disk_format in ("raw", "qcow2") else []
    told = json.loads(disk.qemu_img("info", "--force-share", "--output=json", *declared, str(path)))
    backing = told.get("full-backing-filename") or told.get("backing-filename")
    image = _Image(path, told["format"], told["actual-size"], backing)
    _refuse_format(image, told, mode, has_snapshots=bool(told.get("snapshots")))
    if mode != "copy" and not os.access(path if mode == "in-place" else path.parent, os.W_OK):
        raise StateError(f"{path} cannot be {_DONE[mode]} by your user", hint="or use --copy, which only reads it")
    return image


_DONE = {"in-place": "written to", "move": "moved"}


def _refuse_format(image: _Image, told: Mapping[str, Any], mode: str, *, has_snapshots: bool) -> None:
    path, special = image.path, told.get("format-specific", {}).get("data", {})
    if told.get("encrypted") or image.format == "luks":
        raise StateError(f"{path} is encrypted, and Pommel cannot give QEMU its key")
    if special.get("data-file") and mode != "in-place":
        raise StateError(
            f"{path} keeps its data in {special['data-file']}",
            hint="use --in-place, which leaves both files where they are",
        )
    if image.format not in ("qcow2", "raw") and mode != "copy":
        raise StateError(
            f"{path} is {image.format}, but a machine's disk must be qcow2 or raw", hint="use --copy, which converts it"
        )
    if image.backing is None:
        return
    if not Path(image.backing).is_file():
        raise StateError(
            f"{path} needs the backing file {image.backing}, which does not exist",
            hint="put the backing file back first",
        )
    if mode == "move":
        raise StateError(
            f"{path} needs the backing file {image.backing}, and could not find it from another folder",
            hint="use --copy, which makes one disk of both, or --in-place, which leaves both files where they are",
        )
    if mode == "copy" and has_snapshots:
        raise StateError(
            f"{path} needs the backing file {image.backing} and contains snapshots, which would be lost if both "
            "became one disk",
            hint="use --in-place, which leaves both files where they are",
        )


def _refuse_ours(workspace: Workspace, path: Path) -> None:
    for name in workspace.home.names():
        for own in own_disks.all_disks(workspace.paths(name)):
            if own.exists() and own.samefile(path):
                raise StateError(f"{path} is already the disk of the machine {name}", hint=f"pommel clone {name} NEW")


def _numbers(found: InstalledMac) -> tuple[dict[str, TakenValue], list[str]]:
    """The model and serial numbers from the boot disk's OpenCore configuration, and warnings."""
    if found.boot_disk is None or not Path(found.boot_disk).is_file():
        return {}, []
    boot = Path(found.boot_disk)
    try:
        kind = disk.info(boot).format
        said = reading.numbers(reading.read_config(boot, image_format=kind))
    except PommelError as failure:
        return {}, [f"its serial numbers stay on its boot disk and are not shown: {failure.message}"]
    return {key: TakenValue(value, f"{boot.name}: PlatformInfo") for key, value in said.items()}, []


def _record(
    workspace: Workspace,
    name: str,
    found: InstalledMac,
    taken: Mapping[str, TakenValue],
    settings: Mapping[str, TakenValue],
    own: bool,
) -> tuple[record.MachineRecord, list[str]]:
    fresh, warnings = identity.new_identity(os.urandom(identity.RANDOM_BYTES)), []
    words = found.facts.get("uuid", taken.get("uuid"))
    uuid = str(words.value).lower() if words else fresh.uuid
    apple = {key: str(taken[key].value) for key in _APPLE if key in taken}
    wrong = _problem(apple)
    if wrong and apple:
        warnings.append(
            f"its serial numbers are not in the machine's record, so `pommel info` does not show them: {wrong}"
        )
    macos = None
    if "macos" in taken:
        try:
            macos = catalog.find(str(taken["macos"].value)).number
        except UsageError as unknown:
            warnings.append(f"its macOS version is unknown: {unknown.message}")
    config = workspace.file.path
    made = record.MachineRecord(
        name=name, upstream=str(found.folder) if own else OSX_KVM, uuid=uuid,
        mac=str(taken["mac"].value) if "mac" in taken else fresh.mac, ssh_port=1,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), macos=macos,
        config=str(config.absolute()) if config else None, installed=True, adopted=found.folder or found.disk,
        settings={key: value.value for key, value in settings.items()} or None,
    )  # fmt: skip
    if not wrong:
        made = replace(made, model=apple["model"], serial=apple["serial"], mlb=apple["mlb"], rom=apple["rom"])
    return made, warnings


def _problem(apple: Mapping[str, str]) -> str | None:
    if lacking := [key for key in _APPLE if key not in apple]:
        return f"{', '.join(lacking)} not found"
    return check_serial(apple["serial"]) or check_mlb(apple["mlb"])


def _items(found: InstalledMac, paths: MachinePaths, image: _Image, mode: str, converted: bool) -> list[Item]:
    how = {"copy": "converted" if converted else "copied", "move": "moved", "in-place": "linked"}[mode]
    items = [Item("disk", str(image.path), str(paths.disk), image.actual_bytes, how)]
    small = (("NVRAM", found.nvram, paths.nvram), ("firmware", found.firmware, paths.directory / OWN_FIRMWARE))
    if _fit(found):
        items += [Item(what, str(at), str(to), Path(at).stat().st_size, "copied") for what, at, to in small if at]
    if found.boot_disk and Path(found.boot_disk).is_file():
        size = Path(found.boot_disk).stat().st_size
        items.append(Item("boot disk", found.boot_disk, str(paths.directory / OWN_BOOT_DISK), size, "copied"))
    return items


def _fit(found: InstalledMac) -> bool:
    """Whether firmware and NVRAM exist and are from the same build. If not, the NVRAM was never usable."""
    if found.nvram is None or found.firmware is None:
        return False
    code, variables = Path(found.firmware), Path(found.nvram)
    return code.is_file() and variables.is_file() and firmware.matches(code.stat().st_size, variables.stat().st_size)


def _said_of(
    found: InstalledMac, image: _Image, mode: str, name: str, workspace: Workspace, made: record.MachineRecord
) -> list[str]:
    said = [f"the additional disk {path} is not adopted" for path in found.further]
    if image.actual_bytes < _EMPTY_BYTES:
        said.append(f"its disk contains {format_size(image.actual_bytes)}: is macOS installed on it?")
    if image.format == "raw" and mode != "copy":
        said.append("its disk stays raw, and a raw disk cannot have snapshots; --copy converts it to qcow2")
    if image.backing:
        said.append(
            f"its disk has the backing file {image.backing}" + (": both become one disk" if mode == "copy" else "")
        )
    if not _fit(found) and (found.nvram or found.firmware):
        said.append("its NVRAM and firmware are not adopted: they are missing, or from different builds")
    if found.boot_disk is None and found.kind != BARE and made.apple is None:
        said.append(
            "no boot disk was found: it starts from the upstream's boot disk, which has different serial numbers"
        )
    if found.kind == BARE:
        said.append("a disk contains no MAC address, serial numbers, memory size or CPU, so these are new")
    if mode == "in-place":
        said += _in_place(image.path, name)
    for other in workspace.home.names():
        if made.mac == record.load(workspace.paths(other).record).mac:
            said.append(f"the machine {other} has the same MAC address, {made.mac}: do not run both on one network")
    return said


def _in_place(path: Path, name: str) -> list[str]:
    return [
        f"{path} stays where it is: do not move or rename it, because {name} needs it",
        "snapshots that Pommel saves are inside that file",
        f"pommel delete {name} removes only the link to it, never the file",
        "do not run it with the old tool while Pommel runs it; QEMU's lock prevents that",
    ]
