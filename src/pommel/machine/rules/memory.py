"""The rule for the guest's RAM: -m, and its memory backends. Band: core, no I/O.

QEMU refuses to start if the two differ (hw/core/machine.c, hw/core/numa.c), so a new size is set in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pommel.errors import ConfigError
from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.keyed import Keyed
from pommel.machine.rules.processor import why
from pommel.machine.rules.sheet import RuleInput, Sheet
from pommel.machine.suboptions import SubOptions
from pommel.machine.upstream_files import unreadable

MIB = 1 << 20
_BACKENDS = ("memory-backend-ram", "memory-backend-file", "memory-backend-memfd", "memory-backend-shm")
_UNITS = {"": MIB, "B": 1, "K": 1 << 10, "M": MIB, "G": 1 << 30, "T": 1 << 40}


def memory(sheet: Sheet, given: RuleInput) -> Sheet:
    """Set the RAM, in MiB as upstream writes it, and the same size in its memory backends."""
    size = given.spec.memory_bytes
    if size is None:
        return sheet
    reason, text = why(given.spec, {"memory": "memory"}), str(size // MIB)
    sheet = _backends(sheet, size, reason)
    found = sheet.line.find("m")
    if not found:
        return sheet.add("-m", text, reason)
    last = found[-1].sub
    value = last.with_value("size", f"{text}M") if last.has("size") else last.with_head(text)
    most = last.get("maxmem")
    if most is not None and bytes_of(most) <= size:
        value, reason = (
            value.without("maxmem", "slots"),
            f"{reason}; no more memory can be added while it runs (maxmem={most})",
        )
    return sheet.change(found[-1], value, reason)


def bytes_of(text: str, unit: str = "") -> int:
    """A size as QEMU parses it, in bytes: `4096`, `8G`, `1.5G`. 0 if it cannot be parsed."""
    number, suffix = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, unit)
    try:
        return int(float(number) * _UNITS[suffix])
    except (ValueError, KeyError, OverflowError):
        return 0


def _backends(sheet: Sheet, size: int, reason: str) -> Sheet:
    line = sheet.line
    named = [name for m in line.find("machine") if (name := m.sub.get("memory-backend"))]
    nodes = line.find("numa", where=lambda a: _is_node(a.sub))
    if any(node.sub.has("mem") for node in nodes):
        raise unreadable(line, "NUMA nodes with their own size (mem=)", "-numa node,memdev=…", "numa")
    wanted = named or [name for node in nodes if (name := node.sub.get("memdev"))]
    backends = {name: found for name in wanted if (found := _backend(line, name)) is not None}
    if not backends:
        return sheet
    if len(backends) > 1:
        reason += "; divided among the NUMA nodes as in the boot script"
    for name, part in _shares({name: _size_of(found) for name, found in backends.items()}, size).items():
        value = _keyed(backends[name])
        new = value.with_value("size", f"{part // MIB}M" if value.plain else part)
        sheet = sheet.change(backends[name], new, reason)
    return sheet


def _is_node(value: SubOptions) -> bool:
    return value.head == "node" or value.get("type") == "node"


def _shares(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """The parts of `total`, whole MiB each, in the proportion of `sizes`."""
    whole = sum(sizes.values())
    if len(sizes) > 1 and not all(sizes.values()):
        raise ConfigError(
            "memory is set, but the size of a memory backend in the boot script cannot be read",
            hint="remove memory from pommel.toml, or give the backends a size such as size=4G",
        )
    parts = {name: max(1, total * size // (whole or 1) // MIB) * MIB for name, size in sizes.items()}
    largest = max(parts, key=lambda name: parts[name])
    return {**parts, largest: parts[largest] + total - sum(parts.values())}  # the rest of the rounding


def _backend(line: CommandLine, name: str) -> Argument | None:
    found: Sequence[Argument] = line.find("object", where=lambda a: _keyed(a).get("id") == name)
    return next((a for a in found if _keyed(a).get("qom-type") in _BACKENDS), None)


def _size_of(backend: Argument) -> int:
    return bytes_of(_keyed(backend).get("size") or "", "B")


def _keyed(argument: Argument) -> Keyed:
    return Keyed.parse("object", argument.value or "")
