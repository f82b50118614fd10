"""Parses /proc/cpuinfo and similar files for the facts about the host's processor. Band: core, no I/O.

`cpu` reads the files. It knows nothing of macOS. It never fails: a missing value is 0, "" or None, because
a container, a hypervisor or another architecture may leave out any value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Vendor = Literal["intel", "amd", "other"]
_VENDORS: Mapping[str, Vendor] = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}


@dataclass(frozen=True, slots=True)
class Cpu:
    """The host's processor. `cores` are physical, of all sockets; `threads` logical, those for this process."""

    vendor: Vendor
    model_name: str
    family: int
    model: int
    flags: frozenset[str]  # those that every logical processor has
    sockets: int
    cores: int
    threads: int
    hybrid: bool  # fast and slow cores in one processor
    virtualization: Literal["vmx", "svm"] | None
    clocksource: str | None


def describe(cpuinfo: str, status: str, *, core_types: Sequence[str] = (), clocksource: str = "") -> Cpu:
    """Build the facts.

    Args:
        cpuinfo: /proc/cpuinfo.
        status: /proc/self/status, for the processors that this process may use.
        core_types: the kinds of cores for which the kernel counts events: cpu_core and cpu_atom on an Intel hybrid.
        clocksource: current_clocksource.
    """
    processors = parse_cpuinfo(cpuinfo)
    first = processors[0] if processors else {}
    flags = frozenset.intersection(*map(_flags, processors)) if processors else frozenset()
    sockets, cores = _sockets_and_cores(processors)
    return Cpu(
        vendor=_VENDORS.get(first.get("vendor_id", ""), "other"),
        model_name=first.get("model name") or first.get("Hardware", ""),
        family=_number(first.get("cpu family", "")),
        model=_number(first.get("model", "")),
        flags=flags,
        sockets=sockets,
        cores=cores,
        threads=allowed(status) or max(1, len(processors)),
        hybrid={"cpu_core", "cpu_atom"} <= set(core_types),
        virtualization="vmx" if "vmx" in flags else "svm" if "svm" in flags else None,
        clocksource=clocksource.strip() or None,
    )


def parse_cpuinfo(text: str) -> list[dict[str, str]]:
    """Parse /proc/cpuinfo, one table per logical processor. Other paragraphs (Arm's last one) are left out."""
    found = []
    for paragraph in re.split(r"\n[ \t]*\n", text):
        pairs = (line.partition(":") for line in paragraph.splitlines() if ":" in line)
        table = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in table:
            found.append(table)
    return found


def allowed(status: str) -> int:
    """The number of processors that proc(5)'s `status` allows, as "0-3,8"; 0 if it is missing."""
    said = re.search(r"^Cpus_allowed_list:\s*([\d,-]+)", status, re.MULTILINE)
    ranges = re.findall(r"(\d{1,9})(?:-(\d{1,9}))?", said[1]) if said else []
    return sum(int(last or first) - int(first) + 1 for first, last in ranges)


def _flags(processor: Mapping[str, str]) -> frozenset[str]:
    # `flags` on x86, `Features` on Arm.
    return frozenset((processor.get("flags") or processor.get("Features", "")).split())


def _sockets_and_cores(processors: Sequence[Mapping[str, str]]) -> tuple[int, int]:
    cores_of = {table.get("physical id", ""): _number(table.get("cpu cores", "")) for table in processors}
    # A processor without these values (Arm, some hypervisors) counts as one core.
    return max(1, len(cores_of)), sum(cores_of.values()) or max(1, len(processors))


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
