"""Problems of a host's processor and memory for macOS, and hints for them. Band: core, no I/O.

It only reports. Whether KVM can run guests at all is tested by a probe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pommel.machine.cpu_models import HostProcessor, needs_avx2
from pommel.machine.spec import GIB
from pommel.machine.topology import default_vcpus, oversubscription
from pommel.settings import format_size

_LEAST_MEMORY = 4 * GIB
# The kernel and the firmware reserve memory, which is missing in the host's total.
_KEPT_BY_HOST = GIB // 2
_AMD_MOST_AT_INSTALL = 8 * GIB
_TCG_HAS_AVX2 = (7, 2)


@dataclass(frozen=True, slots=True)
class HostProblem:
    """What is wrong, and a hint: `fail` prevents macOS, `warn` may prevent it, `note` is information."""

    what: str
    hint: str
    level: Literal["fail", "warn", "note"] = "warn"


def problems(
    host: HostProcessor,
    macos: str,
    accel: str,
    *,
    vcpus: int | None = None,
    memory_bytes: int | None = None,
    qemu_version: tuple[int, ...] = (),
) -> list[HostProblem]:
    """All problems for `macos` on this host, the worst first.

    `vcpus` and `memory_bytes` are the machine's; None: the values that `tuning.choose` would give it.
    """
    count = vcpus if vcpus is not None else default_vcpus(host, accel)[0]
    found = [*_processor(host, macos, accel, qemu_version), *_memory(host, memory_bytes), *_vcpus(host, accel, count)]
    return sorted(found, key=lambda problem: ("fail", "warn", "note").index(problem.level))


def _processor(host: HostProcessor, macos: str, accel: str, qemu_version: tuple[int, ...]) -> Iterator[HostProblem]:
    if missing := _no_virtualization(host):
        yield HostProblem(*missing, "fail" if accel == "kvm" else "warn")
    if not needs_avx2(macos):
        return
    if accel == "kvm" and "avx2" not in host.flags and "lm" in host.flags:
        yield HostProblem(
            f"macOS {macos} needs a processor with AVX2, and this processor has no AVX2",
            'set macos = "monterey" or an older version; accel = "tcg" emulates AVX2, which is very slow',
            "fail",
        )
    if accel == "tcg" and qemu_version and qemu_version < _TCG_HAS_AVX2:
        yield HostProblem(
            f"macOS {macos} needs AVX2, which QEMU emulates from 7.2 on; this host has "
            + ".".join(str(part) for part in qemu_version),
            'install a newer QEMU, or set macos = "monterey" or an older version',
            "fail",
        )


def _no_virtualization(host: HostProcessor) -> tuple[str, str] | None:
    if "lm" not in host.flags:
        return (
            "this is not an x86-64 processor: KVM cannot run macOS for Intel here"
        ), 'set accel = "tcg"; it is very slow'
    if host.flags & {"vmx", "svm"}:
        return None
    if "hypervisor" in host.flags:
        return (
            "this host is a virtual machine, and its processor shows neither vmx nor svm",
            "turn on nested virtualization for it on its own host; without it, macOS is emulated, which is very slow",
        )
    return (
        "the processor shows neither vmx nor svm",
        "turn on VT-x (Intel) or SVM (AMD) in the firmware setup; without it, macOS is emulated, which is very slow",
    )


def _memory(host: HostProcessor, asked: int | None) -> Iterator[HostProblem]:
    there = format_size(host.memory_bytes)
    if host.memory_bytes < _LEAST_MEMORY - _KEPT_BY_HOST:
        yield HostProblem(
            f"macOS needs 4 GiB of memory, but the host has {there}", "use a host with 8 GiB or more", "fail"
        )
    elif host.memory_bytes < _LEAST_MEMORY + 2 * GIB - _KEPT_BY_HOST:
        yield HostProblem(
            f"macOS needs 4 GiB of the host's {there}, which leaves little for the host",
            "close other programs; if the host runs out of memory, it kills the machine in the middle of its "
            "installation",
        )
    if asked is None:
        return
    if asked < _LEAST_MEMORY:
        yield HostProblem(f"macOS needs 4 GiB of memory, but it gets {format_size(asked)}", "set memory = 4G or more")
    if asked > host.memory_bytes:
        yield HostProblem(f"memory = {format_size(asked)}, but the host has {there}", "set memory to half of this")
    if host.vendor == "amd" and asked > _AMD_MOST_AT_INSTALL:
        yield HostProblem(
            f"the installer may freeze on AMD with more than 8 GiB of memory; it has {format_size(asked)}",
            "set memory = 8G until macOS is installed",
        )


def _vcpus(host: HostProcessor, accel: str, count: int) -> Iterator[HostProblem]:
    if too_many := oversubscription(count, host.threads):
        yield HostProblem(too_many, f"set threads = {host.threads} or fewer")
    if accel != "kvm":
        return
    if host.clocksource not in (None, "tsc"):
        # One vCPU works with any clock, so for it this is only information before the user asks for more.
        yield HostProblem(
            f"the host's clock is {host.clocksource}; macOS with more than one vCPU needs tsc",
            "set threads = 1, or boot the host with clocksource=tsc tsc=reliable if its TSC can be trusted",
            "warn" if count > 1 else "note",
        )
    if host.vendor == "intel" and host.sockets > 1 and count > 1:
        yield HostProblem(
            f"{host.sockets} sockets: macOS has been seen to hang when its vCPUs run on more than one of them",
            "start it on one socket: numactl --cpunodebind=0 --membind=0 pommel up NAME",
        )
    if host.hybrid:
        yield HostProblem(
            "fast and slow cores: a vCPU on a slow core is slow, and macOS does not know it",
            "to use only the fast cores: taskset -c $(cat /sys/devices/cpu_core/cpus) pommel up NAME",
            "note",
        )
