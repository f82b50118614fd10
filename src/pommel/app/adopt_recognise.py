"""Which tool's Mac a folder or a file is, by what is in it; the most specific evidence first. Band: app."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pommel import account, texts
from pommel.adopt import dockur, libvirt, quickemu
from pommel.adopt.found import QEMU_MAC, Found, Taken, checked_mac, checked_uuid, machine_name
from pommel.app import machine_disk
from pommel.errors import ConfigError, PommelError, StateError, UpstreamError, UsageError
from pommel.machine import taken_line
from pommel.machine.commandline import CommandLine
from pommel.machine.upstream_files import upstream_files
from pommel.overlay.capture import capture

# Boot scripts by the tools that have them, a tool's usual one first.
_SCRIPTS = ("OpenCore-Boot.sh", "boot.sh", "basic.sh", "boot-macOS-headless.sh", "boot-macOS-NG.sh", "boot-macOS.sh")
_IMAGES = (".qcow2", ".img", ".raw", ".vmdk", ".vdi", ".vhdx")
_DISK_NAMES = ("mac_hdd_ng.img", "mac_hdd.img", "HDD.qcow2", "MyDisk.qcow2", "macOS.qcow2")
_SETUP = ("pommel.toml", "bootstrap.sh")
_KNOWN = (
    "a folder of OSX-KVM, macos-vm, ULTMOS or macOS-Simple-KVM, the storage of dockur/macos, a quickemu .conf, "
    "a libvirt domain's .xml, or a disk image"
)
BARE = "a disk image"


def recognise(path: Path) -> Found:
    """Say what `path` is, with all paths absolute. Runs nothing but a boot script under the recording stand-in.

    Raises:
        StateError: there is nothing, or nothing that is known.
        UsageError: it is known, and something in it cannot be read.
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
    return Found(BARE, machine_name(path.stem), str(path))


def used_disk(folder: Path) -> Path | None:
    """The disk of a Mac by its usual name in a tool's folder that has a boot script too; starts nothing."""
    if next(_scripts(folder), None) is None:
        return None
    return next((folder / name for name in _DISK_NAMES if (folder / name).is_file()), None)


def _folder(folder: Path) -> Found:
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


def _scripted(folder: Path, script: str) -> Found:
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
    found = Found(
        kind, machine_name(folder.name), files.disk, files.disk_format, nvram=files.firmware_variables,
        firmware=files.firmware_code, boot_disk=files.boot_disk, folder=str(folder), script=script,
    )  # fmt: skip
    return _with_line(found, line, script)


def _by_name(folder: Path, kind: str, failure: PommelError) -> Found:
    """The folder's disk by its usual name, where its boot script cannot be read."""
    disk = next((folder / name for name in _DISK_NAMES if (folder / name).is_file()), None)
    if disk is None:
        raise StateError(f"{folder} is {kind}, but no disk of a Mac was found in it: {failure.message}")
    why = f"its boot script cannot be read ({failure.message}): memory, CPU, MAC address and firmware are not adopted"
    boot = next((str(p) for p in (folder / "OpenCore/OpenCore.qcow2", folder / "ESP.qcow2") if p.is_file()), None)
    return Found(kind, machine_name(folder.name), str(disk), boot_disk=boot, warnings=(why,))


def _quickemu(conf: Path) -> Found:
    said = quickemu.parse(_text(conf), conf.name)
    disk = conf.parent / said.get("disk_img", "")
    found = quickemu.machine(said, conf.stem, conf.name, names=_names(disk.parent))
    found = _absolute(found, conf.parent)
    script = Path(found.disk).parent / f"{conf.stem}.sh"
    words = quickemu.argv_of(_text(script)) if script.is_file() else None
    if words is None:
        return found
    with_line = _with_line(found, CommandLine.parse("qemu-system-x86_64", words), script.name)
    return replace(with_line, settings={**with_line.settings, **_memory_of(found)})  # what was written stands


def _memory_of(found: Found) -> dict[str, Taken]:
    return {key: value for key, value in found.settings.items() if key == "memory"}


def _libvirt(path: Path) -> Found:
    domain = libvirt.parse(_text(path), path.name)
    line = CommandLine.parse("qemu-system-x86_64", domain.words)
    return _with_line(_absolute(domain.found, path.parent), line, f"{path.name}: qemu:commandline")


def _with_line(found: Found, line: CommandLine, where: str) -> Found:
    """What a command line says on top of what was found."""
    said = taken_line.said(line)
    settings = {key: Taken(value, where) for key, value in said.settings.items()}
    facts = dict(found.facts)
    if said.uuid:
        facts["uuid"] = Taken(checked_uuid(said.uuid, where), where)
    if said.mac:
        facts["mac"] = Taken(checked_mac(said.mac, where), where)
    elif said.card and "mac" not in facts:
        facts["mac"] = Taken(QEMU_MAC, "QEMU's default, because the script sets none")
    warnings = found.warnings
    if said.card and said.card not in taken_line.USUAL_CARD:
        warnings += (
            f"its network card was a {said.card}; if its own script does not start it, it now has the upstream's card",
        )
    return replace(found, settings={**found.settings, **settings}, facts=facts, warnings=warnings)


def _absolute(found: Found, folder: Path) -> Found:
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
    """What can be read of a file that is only searched for a word."""
    try:
        return texts.read_bytes(path, most=libvirt.TEXT_MAX).decode(errors="replace")
    except ConfigError:
        return ""
