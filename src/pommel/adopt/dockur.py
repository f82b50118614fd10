"""The storage folder of dockur/macos. Band: core, no I/O.

Files as in dockur's own scripts (dockur/macos src/install.sh and boot.sh, qemus/qemu src/disk.sh and utils.sh): the
disk is data.img (raw) or data.qcow2; macos.id, .mac, .sn and .mlb contain one word each; macos.rom and macos.vars are
the firmware. Older releases make the boot disk again at each start from those words, newer ones keep it as boot.img.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pommel.adopt.found import InstalledMac, TakenValue, checked_mac, checked_uuid, machine_name, no_disk

KIND = "the storage folder of dockur/macos"
MODEL = "iMacPro1,1"  # dockur's default of MODEL, which it does not store
WORDS = ("macos.id", "macos.uuid", "macos.mac", "macos.sn", "macos.mlb")
_DISKS = (("data.qcow2", "qcow2"), ("data.img", "raw"), ("data.raw", "raw"))
_FURTHER = re.compile(r"data[2-6]\.(img|raw|qcow2)\Z")
_FIRMWARE = re.compile(r"macos(_\w+)?\.(?P<part>rom|vars)\Z")


def is_one(names: frozenset[str]) -> bool:
    """Whether a folder with these files is dockur's storage."""
    return any(disk in names for disk, _ in _DISKS) and any(name.startswith("macos.") for name in names)


def machine(folder: str, names: frozenset[str], words: Mapping[str, str]) -> InstalledMac:
    """The contents of the folder; `words` are the contents of the existing files of WORDS.

    Raises:
        UsageError: a word is not valid.
        StateError: there is no disk.
    """
    disk = next(((name, kind) for name, kind in _DISKS if name in names), None)
    if disk is None:
        raise no_disk(folder)
    said = {key: "".join(char for char in words[key] if char.isprintable()).strip() for key in WORDS if key in words}
    facts = {}
    for key in ("macos.id", "macos.uuid"):
        if said.get(key):
            facts["uuid"] = TakenValue(checked_uuid(said[key], key), key)
    if said.get("macos.mac"):
        mac = checked_mac(said["macos.mac"], "macos.mac")
        facts["mac"] = TakenValue(mac, "macos.mac")
        facts["rom"] = TakenValue(mac.replace(":", "").upper(), "macos.mac, as dockur creates it")
    for key, name in (("serial", "macos.sn"), ("mlb", "macos.mlb")):
        if said.get(name):
            facts[key] = TakenValue(said[name].upper(), name)
    warnings = []
    if "serial" in facts:
        facts["model"] = TakenValue(MODEL, "dockur's default")
        warnings.append(f"dockur does not store its MODEL: if you set one, it is not {MODEL}")
    firmware = {match["part"]: f"{folder}/{name}" for name in sorted(names) if (match := _FIRMWARE.match(name))}
    return InstalledMac(
        KIND, machine_name("macos"), f"{folder}/{disk[0]}", disk[1],
        nvram=firmware.get("vars"), firmware=firmware.get("rom"), facts=facts,
        boot_disk=f"{folder}/boot.img" if "boot.img" in names else None,
        further=tuple(f"{folder}/{name}" for name in sorted(names) if _FURTHER.match(name)),
        warnings=(*warnings, "memory and vCPUs belong to the container (RAM_SIZE, CPU_CORES): set them for the "
                             "machine"),
    )  # fmt: skip
