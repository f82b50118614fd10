"""Reads settings from the command line of a machine of another tool. Band: core, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from pommel.machine.commandline import CommandLine
from pommel.machine.rules.memory import MIB, bytes_of
from pommel.machine.suboptions import SubOptions

_CARDS = ("virtio-net", "virtio-net-pci", "vmxnet3", "e1000", "e1000e", "e1000-82545em", "rtl8139")
USUAL_CARD = ("virtio-net", "virtio-net-pci")  # the card of the managed upstream


@dataclass(frozen=True, slots=True)
class TakenSettings:
    """Settings by their keys, the identity, and the network card's model; values that are not given are missing."""

    settings: dict[str, Any] = field(default_factory=dict)
    mac: str | None = None
    uuid: str | None = None
    card: str | None = None


def said(line: CommandLine) -> TakenSettings:
    """Read the settings and the identity from a command line."""
    settings = {**_memory(line), **_cpu(line), **_topology(line)}
    card, mac = _network(line)
    uuid = next((a.value for a in reversed(line.find("uuid"))), None)
    return TakenSettings(settings, mac, uuid or _smbios_uuid(line), card)


def _memory(line: CommandLine) -> dict[str, Any]:
    for argument in reversed(line.find("m")):
        if mib := bytes_of(argument.sub.head or argument.sub.get("size") or "") // MIB:
            return {"memory": f"{mib // 1024}G" if mib % 1024 == 0 else f"{mib}M"}
    return {}


def _cpu(line: CommandLine) -> dict[str, Any]:
    for argument in reversed(line.find("cpu")):
        sub = argument.sub
        if sub.head is None:
            return {}
        flags = [key for key, value in sub.pairs if value is None and re.fullmatch(r"[+-][a-z0-9._-]+", key)]
        return {"cpu": sub.head, **({"cpu_flags": flags} if flags else {})}
    return {}


def _topology(line: CommandLine) -> dict[str, Any]:
    for argument in reversed(line.find("smp")):
        sub = argument.sub
        found = {key: value for key in ("sockets", "cores") if (value := _number(sub.get(key)))}
        total = _number(sub.head) or _number(sub.get("cpus"))
        if total is None and found:
            total = found.get("sockets", 1) * found.get("cores", 1) * (_number(sub.get("threads")) or 1)
        if total:
            # The Mac ran so: it goes on so, whatever other Macs may hang on.
            return {**found, "threads": total, "topology": "as-asked"}
    return {}


def _network(line: CommandLine) -> tuple[str | None, str | None]:
    for argument in line.find("device", "nic"):
        sub: SubOptions = argument.sub
        if argument.name == "device" and sub.head in _CARDS:
            return sub.head, sub.get("mac")
        if argument.name == "nic" and sub.head != "none":
            return sub.get("model"), sub.get("mac")
    return None, None


def _smbios_uuid(line: CommandLine) -> str | None:
    subs = (a.sub for a in line.find("smbios") if a.sub.get("type") == "1")
    return next((uuid for sub in subs if (uuid := sub.get("uuid"))), None)


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[1-9]\d{0,3}", text) else None
