"""Parses a libvirt domain, as `virsh dumpxml` prints it. Band: core, no I/O.

Elements as in libvirt's formatdomain. The text is not trusted: its size is limited, and a document type, which could
define entities, is refused.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from pommel.adopt.found import (
    BOOT,
    INSTALLER,
    InstalledMac,
    TakenValue,
    checked_mac,
    checked_uuid,
    machine_name,
    no_disk,
    size_text,
)
from pommel.errors import UsageError

KIND = "a libvirt domain"
TEXT_MAX = 4 << 20
_DEPTH_MAX = 64
_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0}"
_UNITS = {
    "b": 1, "bytes": 1, "KB": 1000, "k": 1 << 10, "KiB": 1 << 10, "MB": 10**6, "M": 1 << 20, "MiB": 1 << 20,
    "GB": 10**9, "G": 1 << 30, "GiB": 1 << 30, "TB": 10**12, "T": 1 << 40, "TiB": 1 << 40,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain: the facts found, and the arguments that it passes to QEMU unchanged."""

    found: InstalledMac
    words: tuple[str, ...]


def parse(text: str, where: str) -> Domain:
    """Parse a domain.

    Raises:
        UsageError: it is not XML, not a domain, or contains something that cannot be read.
        StateError: it names no disk.
    """
    if len(text) > TEXT_MAX:
        raise UsageError(f"{where} is too large for a domain")
    root = _tree(text, where)
    if root.tag != "domain":
        raise UsageError(f"{where} is <{root.tag[:60]}>, no libvirt domain", hint="virsh dumpxml NAME > NAME.xml")
    found = _with_disks(InstalledMac(KIND, machine_name(_text(root, "name") or "libvirt"), ""), root, where)
    loader, nvram = root.find("os/loader"), root.find("os/nvram")
    if loader is not None and loader.get("type", "pflash") == "pflash":
        found = replace(found, firmware=(loader.text or "").strip() or None)
    if nvram is not None:
        found = replace(found, nvram=(nvram.text or "").strip() or None)
    found = replace(found, facts=_facts(root, where), settings=_settings(root, where))
    words = [arg.get("value", "") for arg in root.iterfind(f"{{{_QEMU}commandline/{{{_QEMU}arg")]
    return Domain(found, tuple(words))


def _tree(text: str, where: str) -> Element:
    # expat then gives "NAMESPACE}name", which with a "{" before it is ElementTree's form of the name.
    builder, parser, depth = TreeBuilder(), expat.ParserCreate(namespace_separator="}"), 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEPTH_MAX:
            raise UsageError(f"{where} is nested too deeply for a domain")
        builder.start(f"{{{name}" if "}" in name else name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(f"{{{name}" if "}" in name else name)

    def doctype(*_: object) -> None:
        raise UsageError(f"{where} has a document type, which a domain does not need and which could contain entities")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as wrong:
        raise UsageError(f"{where} is not XML: {wrong}") from None
    return builder.close()


def _with_disks(found: InstalledMac, root: Element, where: str) -> InstalledMac:
    disks = list(_disks(root))
    boot = next((path for path, _ in disks if BOOT.match(posixpath.basename(path))), None)
    rest = [(path, kind) for path, kind in disks if path != boot and not INSTALLER.match(posixpath.basename(path))]
    if not rest:
        raise no_disk(where)
    return replace(
        found, disk=rest[0][0], disk_format=rest[0][1], boot_disk=boot, further=tuple(path for path, _ in rest[1:])
    )


def _disks(root: Element) -> Iterator[tuple[str, str | None]]:
    for disk in root.iterfind("devices/disk"):
        source, driver = disk.find("source"), disk.find("driver")
        if disk.get("device", "disk") != "disk" or source is None:
            continue
        if path := source.get("file") or source.get("dev"):
            yield path, driver.get("type") if driver is not None else None


def _facts(root: Element, where: str) -> dict[str, TakenValue]:
    facts = {}
    if uuid := _text(root, "uuid"):
        facts["uuid"] = TakenValue(checked_uuid(uuid, where), f"{where}: uuid")
    mac = root.find("devices/interface/mac")
    if mac is not None and mac.get("address"):
        facts["mac"] = TakenValue(checked_mac(mac.get("address", ""), where), f"{where}: interface")
    return facts


def _settings(root: Element, where: str) -> dict[str, TakenValue]:
    settings: dict[str, TakenValue] = {}
    memory = root.find("memory")
    if memory is not None:
        unit = _UNITS.get(memory.get("unit", "KiB"))
        number = _number(memory.text, "memory", where)
        if unit is None:
            raise UsageError(
                f"{where}: memory has the unit {memory.get('unit', '')[:60]!r}, which libvirt does not know"
            )
        if number * unit < 1 << 20:
            raise UsageError(f"{where}: memory is {number * unit} bytes, too little for a guest")
        settings["memory"] = TakenValue(size_text(number * unit), f"{where}: memory")
    if vcpus := _text(root, "vcpu"):
        settings["threads"] = TakenValue(_number(vcpus, "vcpu", where), f"{where}: vcpu")
    topology = root.find("cpu/topology")
    if topology is not None:
        for key in ("sockets", "cores"):
            if topology.get(key):
                settings[key] = TakenValue(_number(topology.get(key), key, where), f"{where}: topology")
    model = _text(root, "cpu/model")
    if model and re.fullmatch(r"[A-Za-z0-9._-]+", model):
        settings["cpu"] = TakenValue(model, f"{where}: cpu model")
    return settings


def _number(text: str | None, key: str, where: str) -> int:
    if not re.fullmatch(r"\s*[1-9][0-9]{0,15}\s*", text or ""):
        raise UsageError(f"{where}: {key} is {(text or '')[:60]!r}, no number")
    return int(text or "")


def _text(root: Element, path: str) -> str | None:
    found = root.findtext(path)
    return found.strip() if found and found.strip() else None
