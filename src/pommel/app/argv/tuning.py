"""Choose CPU, memory and topology for a macOS machine if neither settings nor user text do. Band: app.

The facts come from `host`, the choice from `machine.tuning`. The resulting vCPUs are checked here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pommel.app.workspace import TRIAL
from pommel.errors import ConfigError
from pommel.host import ram
from pommel.host.cpu import Cpu, read_cpu
from pommel.machine import user_words
from pommel.machine.commandline import CommandLine
from pommel.machine.rules.processor import Topology, read_topology, wanted_topology
from pommel.machine.spec import MachineSpec
from pommel.machine.suboptions import SubOptions
from pommel.machine.tuning import HostProcessor, check_model, check_topology, choose, oversubscription

_FIELDS = {"memory": "memory_bytes"}
_TOPOLOGY = ("sockets", "cores", "threads")


@dataclass(frozen=True, slots=True)
class Tuned:
    """The spec with its gaps filled, and warnings about the result."""

    spec: MachineSpec
    warnings: tuple[str, ...] = ()


def host_processor(cpu: Cpu | None = None) -> HostProcessor:
    """The facts about this host that `machine.tuning` needs."""
    cpu = cpu or read_cpu()
    return HostProcessor(
        vendor=cpu.vendor,
        flags=cpu.flags,
        cores=cpu.cores,
        threads=cpu.threads,
        sockets=cpu.sockets,
        hybrid=cpu.hybrid,
        memory_bytes=ram.total_bytes(),
        clocksource=cpu.clocksource,
    )


def tuned(spec: MachineSpec, accel: str, upstream: CommandLine) -> Tuned:
    """Fill in the values that `spec` leaves open, for its macOS on this host. Other guests keep the upstream's values.

    Raises:
        ConfigError: macOS is known to hang on these vCPUs; the hint says what to set.
    """
    if spec.macos is None or spec.upstream == TRIAL:
        return Tuned(spec)
    host = host_processor()
    models = upstream.find("cpu")
    tuning = choose(host, spec.macos, accel, models[-1].sub.head if models else None)
    # What the user wrote into the upstream counts like a setting. `beside` needs only their names, so None is enough.
    theirs = dict.fromkeys(user_words.decided(upstream))
    chosen = tuning.beside({**theirs, **_requested(spec)})
    values: dict[str, Any] = {_FIELDS.get(key, key): found.value for key, found in chosen.items()}
    spec = replace(spec, **values, reasons={key: found.reason for key, found in chosen.items()})
    return Tuned(spec, _vcpus(spec, host, upstream))


def _requested(spec: MachineSpec) -> dict[str, Any]:
    found = {key: getattr(spec, _FIELDS.get(key, key)) for key in ("cpu", "cpu_flags", "memory")}
    found |= {key: getattr(spec, key) for key in _TOPOLOGY}
    return {key: value for key, value in found.items() if value not in (None, ())}


def _vcpus(spec: MachineSpec, host: HostProcessor, upstream: CommandLine) -> tuple[str, ...]:
    said = upstream.find("smp")
    own = read_topology(said[-1].sub if said else SubOptions("1"))
    asked = any(getattr(spec, key) for key in _TOPOLOGY)
    new = wanted_topology(own, spec.sockets, spec.cores, spec.threads)
    told = [oversubscription(new.total, host.threads)] if asked else []
    models = upstream.find("cpu")
    if (model := spec.cpu or (models[-1].sub.head if models else None)) and spec.macos:
        told.append(check_model(model, spec.macos))
    if spec.topology == "checked" and spec.macos:
        told.append(_checked(spec, new, said[-1].written if said and not asked else ""))
    return tuple(line for line in told if line)


def _checked(spec: MachineSpec, new: Topology, written: str) -> str | None:
    """Refuse vCPUs on which macOS hangs. If they come from the user's text in the upstream, warn only."""
    try:
        return check_topology(new.sockets, new.cores, new.total, macos=spec.macos)
    except ConfigError as wrong:
        if not written:
            raise
        return f"{written}: {wrong.message}; it was not changed. To change it: {wrong.hint}"
