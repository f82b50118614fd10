"""The CPU model, flags, vCPUs and memory that a macOS wants on this host, each with its reason. Band: core, no I/O.

Proposes; what a person asked for stands before it (`Tuning.beside`). What the host is like comes in as a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pommel.machine.cpu_models import HostProcessor, check_model, choose_model
from pommel.machine.host_problems import Problem, problems
from pommel.machine.spec import GIB
from pommel.machine.topology import check_topology, default_vcpus, oversubscription

__all__ = [
    "Chosen",
    "HostProcessor",
    "Problem",
    "Tuning",
    "check_model",
    "check_topology",
    "choose",
    "oversubscription",
    "problems",
]

_LEAST_MEMORY_GIB, _MOST_MEMORY_GIB = 4, 8
_TOPOLOGY = ("sockets", "cores", "threads")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A setting's value, in the setting's own meaning, and one line for the user that says why."""

    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen, by setting key. `chosen` does not yet know what a person asked for."""

    chosen: Mapping[str, Chosen]

    def beside(self, asked: Mapping[str, Any]) -> dict[str, Chosen]:
        """What to set beside the settings that a person gave a value, which are the keys of `asked`.

        Settings that only mean something together are not mixed: who gives a CPU model gets no flags of another one,
        who gives any part of the topology keeps the upstream's rest of it. Flags alone are laid over the chosen ones,
        so `cpu_flags` may be in the answer although it was asked for.
        """
        taken = set(asked)
        if "cpu" in taken:
            taken.add("cpu_flags")
        if taken & set(_TOPOLOGY):
            taken |= set(_TOPOLOGY)
        found = {key: value for key, value in self.chosen.items() if key not in taken}
        if "cpu_flags" in asked and "cpu" not in asked and "cpu_flags" in self.chosen:
            found["cpu_flags"] = _laid_over(self.chosen["cpu_flags"], tuple(asked["cpu_flags"]))
        return found


def choose(host: HostProcessor, macos: str, accel: str, upstream_model: str | None = None) -> Tuning:
    """Choose for macOS version `macos` ("14", "10.15") on `host` under `accel` (kvm or tcg).

    The model is named even where the upstream has the same (`upstream_model`): an installed macOS may not start with
    another one, and the next upstream may have one.

    Raises:
        ConfigError: `macos` is no version number.
    """
    model = choose_model(host, macos, accel)
    count, few = default_vcpus(host, accel)
    same = " (the upstream's value, kept even if the upstream changes it)" if upstream_model == model.name else ""
    chosen = {
        "cpu": Chosen(model.name, model.reason + same),
        "sockets": Chosen(1, few),
        "cores": Chosen(count, few),
        "threads": Chosen(count, few),
        "memory": _memory(host),
    }
    if model.flags:
        chosen["cpu_flags"] = Chosen(model.flags, model.flags_reason)
    return Tuning(chosen)


def _memory(host: HostProcessor) -> Chosen:
    half = round(host.memory_bytes / 2 / GIB)
    size = min(max(half, _LEAST_MEMORY_GIB), _MOST_MEMORY_GIB)
    if half < _LEAST_MEMORY_GIB:
        return Chosen(size * GIB, f"{size} GiB: macOS needs this, although it is more than half of the host's memory")
    return Chosen(size * GIB, f"{size} GiB: half of the host's memory, and no more than {_MOST_MEMORY_GIB}")


def _laid_over(below: Chosen, asked: tuple[str, ...]) -> Chosen:
    named = {flag[1:] for flag in asked}
    kept = tuple(flag for flag in below.value if flag[1:] not in named)
    return Chosen((*kept, *asked), f"{below.reason}; and as requested: {' '.join(asked)}")
