"""What a host is told about itself: each trouble on the host that has it, and none on a good one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pommel.machine.cpu_models import HostProcessor
from pommel.machine.host_problems import problems

from .hosts import ARM, BULLDOZER, GIB, HYBRID, IVY_BRIDGE, SKYLAKE, XEONS, ZEN3

HIDDEN = replace(ZEN3, flags=ZEN3.flags - {"svm"})
GUEST = replace(HIDDEN, flags=HIDDEN.flags | {"hypervisor"})


@pytest.mark.parametrize("host", [SKYLAKE, ZEN3])
@pytest.mark.parametrize("accel", ["kvm", "tcg"])
@pytest.mark.parametrize("macos", ["10.13", "12", "13", "26"])
def test_a_good_host_has_none(host: HostProcessor, accel: str, macos: str) -> None:
    assert problems(host, macos, accel, qemu_version=(7, 2, 22)) == []
    assert problems(host, macos, accel, vcpus=8, memory_bytes=8 * GIB) == []


@pytest.mark.parametrize(
    ("host", "macos", "accel", "asked", "level", "what", "hint"),
    [
        (HIDDEN, "14", "kvm", {}, "fail", "neither vmx nor svm", "firmware setup"),
        (HIDDEN, "14", "tcg", {}, "warn", "neither vmx nor svm", "emulated"),
        (GUEST, "14", "kvm", {}, "fail", "is a virtual machine", "nested virtualization"),
        (ARM, "12", "kvm", {}, "fail", "not an x86-64 processor", 'accel = "tcg"'),
        (ARM, "14", "tcg", {}, "warn", "not an x86-64 processor", 'accel = "tcg"'),
        (IVY_BRIDGE, "13", "kvm", {}, "fail", "needs a processor with AVX2", 'macos = "monterey"'),
        (BULLDOZER, "26", "kvm", {}, "fail", "needs a processor with AVX2", 'macos = "monterey"'),
        (ZEN3, "14", "tcg", {"qemu_version": (7, 1, 0)}, "fail", "this host has 7.1.0", "newer QEMU"),
        (replace(ZEN3, clocksource="hpet"), "14", "kvm", {}, "note", "clock is hpet", "clocksource=tsc"),
        (replace(ZEN3, clocksource="hpet"), "14", "kvm", {"vcpus": 2}, "warn", "clock is hpet", "threads = 1"),
        (HYBRID, "14", "kvm", {}, "note", "fast and slow cores", "taskset -c $(cat "),
        (XEONS, "14", "kvm", {}, "warn", "2 sockets", "numactl"),
        (replace(SKYLAKE, memory_bytes=3 * GIB), "14", "kvm", {}, "fail", "the host has 3 GiB", "8 GiB"),
        (replace(SKYLAKE, memory_bytes=5 * GIB), "14", "kvm", {}, "warn", "leaves little", "close"),
        (SKYLAKE, "14", "kvm", {"memory_bytes": 2 * GIB}, "warn", "gets 2 GiB", "memory = 4G"),
        (SKYLAKE, "14", "kvm", {"memory_bytes": 64 * GIB}, "warn", "the host has 32 GiB", "half"),
        (ZEN3, "14", "kvm", {"memory_bytes": 16 * GIB}, "warn", "may freeze on AMD", "memory = 8G"),
        (SKYLAKE, "14", "kvm", {"vcpus": 16}, "warn", "16 vCPUs on a host that runs 8", "threads = 8"),
    ],
)
def test_each_trouble(
    host: HostProcessor, macos: str, accel: str, asked: dict[str, Any], level: str, what: str, hint: str
) -> None:
    (found,) = problems(host, macos, accel, **asked)
    assert found.level == level
    assert what in found.what
    assert hint in found.hint


def test_no_trouble_where_it_would_not_matter() -> None:
    assert problems(IVY_BRIDGE, "12", "kvm") == []
    assert problems(IVY_BRIDGE, "14", "tcg") == []
    assert problems(replace(ZEN3, clocksource="hpet"), "14", "tcg", vcpus=4) == []
    assert problems(XEONS, "14", "kvm", vcpus=1) == []
    assert problems(SKYLAKE, "14", "kvm", memory_bytes=16 * GIB) == []
    # What firmware and kernel keep does not make an 8 GB host, or one of 4, look worse than it is.
    assert problems(replace(SKYLAKE, memory_bytes=int(7.6 * GIB)), "14", "kvm") == []
    assert [p.level for p in problems(replace(SKYLAKE, memory_bytes=int(3.7 * GIB)), "14", "kvm")] == ["warn"]


def test_the_worst_comes_first() -> None:
    bad = replace(IVY_BRIDGE, memory_bytes=5 * GIB, clocksource="hpet", hybrid=True)
    levels = [problem.level for problem in problems(bad, "14", "kvm", vcpus=16)]
    assert levels == ["fail", "warn", "warn", "warn", "note"]
