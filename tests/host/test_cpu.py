"""Reading: this host's own /proc and /sys, others' from a folder, and what is not there."""

from __future__ import annotations

import os
from pathlib import Path

from pommel.host.cpu import read_cpu

from .processors import INTEL_I7_12700K, written


def test_this_host() -> None:
    cpu = read_cpu()
    assert cpu.threads == len(os.sched_getaffinity(0))
    assert 1 <= cpu.sockets <= cpu.cores
    assert cpu.vendor in ("intel", "amd", "other")
    if cpu.vendor != "other":
        assert cpu.model_name and cpu.family >= 6 and {"lm", "sse2"} <= cpu.flags


def test_only_the_processors_that_we_are_allowed() -> None:
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(ours)})
    try:
        assert read_cpu().threads == 1
    finally:
        os.sched_setaffinity(0, ours)


def test_another_host(tmp_path: Path) -> None:
    written(tmp_path, INTEL_I7_12700K, allowed="0-15", core_types=("cpu_core", "cpu_atom"), clock="hpet")
    cpu = read_cpu(tmp_path / "proc", tmp_path / "sys")
    assert (cpu.cores, cpu.threads, cpu.hybrid, cpu.clocksource) == (12, 16, True, "hpet")


def test_nothing_there(tmp_path: Path) -> None:
    cpu = read_cpu(tmp_path / "proc", tmp_path / "sys")
    assert (cpu.vendor, cpu.threads, cpu.clocksource, cpu.hybrid) == ("other", 1, None, False)
