"""The CPU model, flags, vCPUs and memory for macOS on this host, each with its reason. Band: core, no I/O.

It only proposes values; the user's settings have priority (`Tuning.beside`). The facts of the host are an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pommel.machine.cpu_models import HostProcessor, check_model, choose_model
from pommel.machine.host_problems import HostProblem, problems
from pommel.machine.spec import GIB
from pommel.machine.topology import check_topology, default_vcpus, oversubscription

__all__ = [
    "HostProblem",
    "HostProcessor",
    "TunedValue",
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
class TunedValue:
    """A setting's value, as in pommel.toml, and the reason in one line for the user."""

    value: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Tuning:
    """The chosen values by setting key, without regard to the user's settings."""

    chosen: Mapping[str, TunedValue]

    def beside(self, asked: Mapping[str, Any]) -> dict[str, TunedValue]:
        """The values to set in addition to the user's settings, which are the keys of `asked`.

        Settings that depend on each other are not mixed: with a CPU model of the user there are no flags of another
        one, and with any part of the topology the rest of it is the upstream's. Flags alone are added to the chosen
        ones, so `cpu_flags` may be in the result although it is in `asked`.
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

    The model is set even if the upstream has the same (`upstream_model`): an installed macOS may not start with another
    one, and a later upstream may have another one.

    Raises:
        ConfigError: `macos` is not a version number.
    """
    model = choose_model(host, macos, accel)
    count, few = default_vcpus(host, accel)
    same = " (the upstream's value, kept even if the upstream changes it)" if upstream_model == model.name else ""
    chosen = {
        "cpu": TunedValue(model.name, model.reason + same),
        "sockets": TunedValue(1, few),
        "cores": TunedValue(count, few),
        "threads": TunedValue(count, few),
        "memory": _memory(host),
    }
    if model.flags:
        chosen["cpu_flags"] = TunedValue(model.flags, model.flags_reason)
    return Tuning(chosen)


def _memory(host: HostProcessor) -> TunedValue:
    half = round(host.memory_bytes / 2 / GIB)
    size = min(max(half, _LEAST_MEMORY_GIB), _MOST_MEMORY_GIB)
    if half < _LEAST_MEMORY_GIB:
        return TunedValue(
            size * GIB, f"{size} GiB: macOS needs this, although it is more than half of the host's memory"
        )
    return TunedValue(size * GIB, f"{size} GiB: half of the host's memory, and no more than {_MOST_MEMORY_GIB}")


def _laid_over(below: TunedValue, asked: tuple[str, ...]) -> TunedValue:
    named = {flag[1:] for flag in asked}
    kept = tuple(flag for flag in below.value if flag[1:] not in named)
    return TunedValue((*kept, *asked), f"{below.reason}; and as requested: {' '.join(asked)}")
