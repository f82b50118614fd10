"""Which of the upstream's words are the user's own, and which of those this host does not support. Band: core, no I/O.

The order of priority, enforced here and in `tuning`: settings and flags, then the user's own text, then Pommel's choice
for the host and the macOS, then the pristine upstream. The user's words are never tuned. If one cannot work on this
host, a warning names it and the setting that would change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pommel.machine.commandline import Argument, CommandLine
from pommel.machine.rules.memory import bytes_of
from pommel.machine.rules.processor import is_kvm_only, read_topology
from pommel.machine.spec import MachineSpec
from pommel.settings import format_size

# The settings that each option determines. Those of one option depend on each other, so all of them are taken.
_DECIDES: dict[str, tuple[str, ...]] = {
    "cpu": ("cpu", "cpu_flags"),
    "m": ("memory",),
    "smp": ("sockets", "cores", "threads"),
}


@dataclass(frozen=True, slots=True)
class HostLimits:
    """The limits of this host: `memory_bytes`, and `threads` (the vCPUs that run at once)."""

    memory_bytes: int
    threads: int


def decided(line: CommandLine) -> frozenset[str]:
    """The settings that the user's own text determines, so that Pommel does not choose them."""
    return frozenset(key for name, keys in _DECIDES.items() if _own(line, name) for key in keys)


def warnings(line: CommandLine, spec: MachineSpec, host: HostLimits, accel: str) -> tuple[str, ...]:
    """What this host does not support of the user's own text: each word, its origin, and the setting that changes it.

    `spec` has the user's settings without Pommel's choices. A word that a setting overrides is left out.
    """
    checks: tuple[tuple[str, tuple[str, ...], Callable[[Argument], Iterator[str]]], ...] = (
        ("m", ("memory_bytes",), lambda found: _memory(found, host)),
        ("smp", _DECIDES["smp"], lambda found: _vcpus(found, host)),
        ("cpu", ("cpu",), lambda found: _cpu(found, accel)),
    )
    told: list[str] = []
    for name, settings, check in checks:
        found = _own(line, name)
        if found is not None and not any(getattr(spec, key) for key in settings):
            told += [f"{found.written}: {text}" for text in check(found)]
    return (*told, *_settings(spec, host, accel))


def _settings(spec: MachineSpec, host: HostLimits, accel: str) -> Iterator[str]:
    if spec.memory_bytes is not None and spec.memory_bytes > host.memory_bytes:
        yield (
            f"memory = {format_size(spec.memory_bytes)} is more than the {format_size(host.memory_bytes)} "
            "that this host has"
        )
    if accel != "tcg":
        return
    if spec.cpu == "host":
        yield "cpu = host is a CPU model that only KVM has; emulation uses max instead"
    if flags := [flag for flag in spec.cpu_flags if is_kvm_only((flag, None))]:
        yield f"cpu_flags {' '.join(flags)}: only KVM has this, and emulation runs the machine without it"


def _own(line: CommandLine, name: str) -> Argument | None:
    """The last argument with that name, if the user wrote it; QEMU uses the last one."""
    found = line.find(name)
    return found[-1] if found and found[-1].written else None


def _memory(found: Argument, host: HostLimits) -> Iterator[str]:
    if bytes_of(found.sub.get("size") or found.sub.head or "") > host.memory_bytes:
        yield (
            f"{found.text} is more than the {format_size(host.memory_bytes)} that this host has; it was not changed. "
            'To change it, set memory = "…" or --memory'
        )


def _vcpus(found: Argument, host: HostLimits) -> Iterator[str]:
    total = read_topology(found.sub).total
    if total > host.threads:
        yield (
            f"{found.text} is {total} vCPUs on a host that runs {host.threads} threads at once; it was not changed. "
            "To change it, set cores and threads, or --cores and --threads"
        )


def _cpu(found: Argument, accel: str) -> Iterator[str]:
    if accel != "tcg":
        return
    sub = found.sub
    if sub.head == "host":
        yield 'host is a CPU model that only KVM has; emulation uses max instead. To change it, set cpu = "…"'
    words = [key if value is None else f"{key}={value}" for key, value in sub.pairs if is_kvm_only((key, value))]
    if words:
        yield (
            f"{', '.join(words)}: only KVM has this, and emulation runs the machine without it; it was not changed. "
            "To change it, set cpu_flags"
        )
    if sub.has("enforce"):
        yield "enforce: emulation lacks CPU features, and QEMU would not start; check is used instead"
