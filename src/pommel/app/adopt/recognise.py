"""Find out which tool made a Mac, from the contents of its folder or file; specific signs first. Band: app."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pommel import account, texts
from pommel.adopt import dockur, libvirt, quickemu
from pommel.adopt.found import QEMU_MAC, InstalledMac, TakenValue, checked_mac, checked_uuid, machine_name
from pommel.app.argv import machine_disk
from pommel.errors import ConfigError, PommelError, StateError, UpstreamError, UsageError
from pommel.machine import taken_line
from pommel.machine.commandline import CommandLine
from pommel.machine.upstream_files import upstream_files
from pommel.overlay.capture import capture

# The names of boot scripts in other tools, the most common of each tool first.
_SCRIPTS = ("OpenCore-Boot.sh", "boot.sh", "basic.sh", "boot-macOS-headless.sh", "boot-macOS-NG.sh", "boot-macOS.sh")
_IMAGES = (".qcow2", ".img", ".raw", ".vmdk", ".vdi", ".vhdx")
_DISK_NAMES = ("mac_hdd_ng.img", "mac_hdd.img", "HDD.qcow2", "MyDisk.qcow2", "macOS.qcow2")
_SETUP = ("pommel.toml", "bootstrap.sh")
_KNOWN = (
    "a folder of OSX-KVM, macos-vm, ULTMOS or macOS-Simple-KVM, the storage of dockur/macos, a quickemu .conf, "
    "a libvirt domain's .xml, or a disk image"
)
BARE = "a disk image"


def recognise(path: Path) -> InstalledMac:
    """Find out what `path` is; all paths in the result are absolute.

    Only a boot script runs, with the recording stand-in.

    Raises:
        StateError: `path` does not exist, or is of no known kind.
        UsageError: the kind is known, but something in it cannot be read.
    """
    path = account.expand(path).absolute()
    if not path.exists():
        raise StateError(f"there is no {path}")
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".conf":
        return _quickemu(path)
    if path.suffix == ".xml":
        return _libvirt(path)
    if path.suffix in (".iso", ".dmg", ".toml", ".sh"):
        raise StateError(f"{path} is not the disk of an installed Mac", hint=f"adopt takes {_KNOWN}")
    return InstalledMac(BARE, machine_name(path.stem), str(path))


def used_disk(folder: Path) -> Path | None:
    """The disk with a usual name in a folder that also has a boot script; None: there is none. Nothing is started."""
    if next(_scripts(folder), None) is None:
        return None
    return next((folder / name for name in _DISK_NAMES if (folder / name).is_file()), None)


def _folder(folder: Path) -> InstalledMac:
    names = _names(folder)
    if dockur.is_one(names):
        words = {name: _text(folder / name) for name in dockur.WORDS if name in names}
        return dockur.machine(str(folder), names, words)
    if (script := next(_scripts(folder), None)) is not None:
        return _scripted(folder, script)
    confs = [*folder.glob("*.conf"), *folder.parent.glob(f"{folder.name}.conf")]
    macs = [conf for conf in confs if _is_mac(conf)]
    if len(macs) == 1:
        return _quickemu(macs[0])
    if any(name in names for name in _SETUP):
        inside = [below for below in sorted(folder.iterdir()) if below.is_dir() and used_disk(below) is not None]
        if len(inside) == 1:
            return _folder(inside[0])
    images = sorted(name for name in names if name.endswith(_IMAGES))
    if len(images) == 1:
        return replace(recognise(folder / images[0]), name=machine_name(folder.name))
    several = [str(conf) for conf in macs] or [str(folder / name) for name in images]
    if several:
        raise StateError(f"{folder} contains several: {', '.join(several[:5])}", hint=f"pommel adopt {several[0]}")
    raise StateError(f"{folder} is not a known kind of folder", hint=f"adopt takes {_KNOWN}")


def _scripted(folder: Path, script: str) -> InstalledMac:
    kind = _kind(folder, script)
    try:
        captured = capture(folder, script)
        line, base = CommandLine.parse(captured.program, captured.argv), str(captured.cwd)
        line = machine_disk.read_configs(line, captured.cwd)
        files = upstream_files(line, base, machine_disk.look(line, base))
    except PommelError as failure:
        return _by_name(folder, kind, failure)
    if files.disk is None:
        return _by_name(folder, kind, UpstreamError(f"{script} names no disk"))
    found = InstalledMac(
        kind, machine_name(folder.name), files.disk, files.disk_format, nvram=files.firmware_variables,
        firmware=files.firmware_code, boot_disk=files.boot_disk, folder=str(folder), script=script,
    )  # fmt: skip
    return _with_line(found, line, script)


def _by_name(folder: Path, kind: str, failure: PommelError) -> InstalledMac:
    """The folder's disk by its usual name, because its boot script cannot be read."""
    disk = next((folder / name for name in _DISK_NAMES if (folder / name).is_file()), None)
    if disk is None:
        raise StateError(f"{folder} is {kind}, but no disk of a Mac was found in it: {failure.message}")
    why = f"its boot script cannot be read ({failure.message}): memory, CPU, MAC address and firmware are not adopted"
    boot = next((str(p) for p in (folder / "OpenCore/OpenCore.qcow2", folder / "ESP.qcow2") if p.is_file()), None)
    return InstalledMac(kind, machine_name(folder.name), str(disk), boot_disk=boot, warnings=(why,))


def _quickemu(conf: Path) -> InstalledMac:
    said = quickemu.parse(_text(conf), conf.name)
    disk = conf.parent / said.get("disk_img", "")
    found = quickemu.machine(said, conf.stem, conf.name, names=_names(disk.parent))
    found = _absolute(found, conf.parent)
    script = Path(found.disk).parent / f"{conf.stem}.sh"
    words = quickemu.argv_of(_text(script)) if script.is_file() else None
    if words is None:
        return found
    with_line = _with_line(found, CommandLine.parse("qemu-system-x86_64", words), script.name)
    # the user's value in the .conf wins over the generated script
    return replace(with_line, settings={**with_line.settings, **_memory_of(found)})


def _memory_of(found: InstalledMac) -> dict[str, TakenValue]:
    return {key: value for key, value in found.settings.items() if key == "memory"}


def _libvirt(path: Path) -> InstalledMac:
    domain = libvirt.parse(_text(path), path.name)
    line = CommandLine.parse("qemu-system-x86_64", domain.words)
    return _with_line(_absolute(domain.found, path.parent), line, f"{path.name}: qemu:commandline")


def _with_line(found: InstalledMac, line: CommandLine, where: str) -> InstalledMac:
    """Add to `found` the facts and settings of a command line."""
    said = taken_line.said(line)
    settings = {key: TakenValue(value, where) for key, value in said.settings.items()}
    facts = dict(found.facts)
    if said.uuid:
        facts["uuid"] = TakenValue(checked_uuid(said.uuid, where), where)
    if said.mac:
        facts["mac"] = TakenValue(checked_mac(said.mac, where), where)
    elif said.card and "mac" not in facts:
        facts["mac"] = TakenValue(QEMU_MAC, "QEMU's default, because the script sets none")
    warnings = found.warnings
    if said.card and said.card not in taken_line.USUAL_CARD:
        warnings += (
            f"its network card was a {said.card}; if its own script does not start it, it now has the upstream's card",
        )
    return replace(found, settings={**found.settings, **settings}, facts=facts, warnings=warnings)


def _absolute(found: InstalledMac, folder: Path) -> InstalledMac:
    def made(path: str | None) -> str | None:
        return str(folder / path) if path else None

    return replace(
        found, disk=str(folder / found.disk), nvram=made(found.nvram), firmware=made(found.firmware),
        boot_disk=made(found.boot_disk), further=tuple(str(folder / path) for path in found.further),
    )  # fmt: skip


def _kind(folder: Path, script: str) -> str:
    if script == "boot.sh" and ((folder / "ovmf").is_dir() or "ULTMOS" in _glance(folder / script)):
        return "a folder of ULTMOS"
    if script == "basic.sh":
        return "a folder of macOS-Simple-KVM"
    if any((folder / name).exists() for name in ("setup.sh", "macos-launcher.sh")):
        return "a macos-vm folder"
    return "an OSX-KVM folder"


def _scripts(folder: Path) -> Iterator[str]:
    yield from (name for name in _SCRIPTS if (folder / name).is_file())
    yield from sorted(path.name for path in folder.glob("boot-macOS*.sh") if path.name not in _SCRIPTS)


def _is_mac(conf: Path) -> bool:
    try:
        return quickemu.parse(_text(conf), conf.name).get("guest_os") == "macos"
    except UsageError:
        return False


def _names(folder: Path) -> frozenset[str]:
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def _text(path: Path) -> str:
    return texts.read_text(path, most=libvirt.TEXT_MAX)


def _glance(path: Path) -> str:
    """A file's text, to search it for a word; empty if it cannot be read."""
    try:
        return texts.read_bytes(path, most=libvirt.TEXT_MAX).decode(errors="replace")
    except ConfigError:
        return ""
