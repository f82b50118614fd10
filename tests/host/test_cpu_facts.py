"""Processors of every kind, from the text that their kernels show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.host.cpu_facts import Cpu, allowed, describe, parse_cpuinfo

from .processors import AMD_RYZEN_5700X, INTEL_I7_9750H, INTEL_I7_12700K, RASPBERRY_PI_4, VM, XEONS

HYBRID = ("cpu_core", "cpu_atom")


def told(cpu: Cpu) -> tuple[str, int, int, int, int, int, str | None]:
    return cpu.vendor, cpu.family, cpu.model, cpu.sockets, cpu.cores, cpu.threads, cpu.virtualization


@pytest.mark.parametrize(
    ("cpuinfo", "wanted"),
    [
        (INTEL_I7_9750H, ("intel", 6, 158, 1, 6, 12, "vmx")),
        (INTEL_I7_12700K, ("intel", 6, 151, 1, 12, 20, "vmx")),
        (AMD_RYZEN_5700X, ("amd", 25, 33, 1, 8, 16, "svm")),
        (XEONS, ("intel", 6, 85, 2, 40, 80, "vmx")),
        (VM, ("amd", 26, 2, 1, 2, 2, None)),
        (RASPBERRY_PI_4, ("other", 0, 0, 1, 4, 4, None)),
        ("", ("other", 0, 0, 1, 1, 1, None)),
    ],
)
def test_processors(cpuinfo: str, wanted: tuple[str, int, int, int, int, int, str | None]) -> None:
    assert told(describe(cpuinfo, "")) == wanted


def test_names_and_flags() -> None:
    ryzen = describe(AMD_RYZEN_5700X, "", clocksource="tsc\n")
    assert ryzen.model_name == "AMD Ryzen 7 5700X 8-Core"
    assert ryzen.flags == {"fpu", "vme", "de", "pse", "lm", "svm", "avx2"}
    assert ryzen.clocksource == "tsc"
    arm = describe(RASPBERRY_PI_4, "", clocksource="")
    assert "asimd" in arm.flags and arm.clocksource is None and arm.model_name == ""


def test_a_flag_counts_when_every_processor_has_it() -> None:
    mixed = AMD_RYZEN_5700X.replace(" svm", "", 1)
    assert describe(mixed, "").virtualization is None
    assert "avx2" in describe(mixed, "").flags


def test_fast_and_slow_cores() -> None:
    assert describe(INTEL_I7_12700K, "", core_types=HYBRID).hybrid
    assert not describe(INTEL_I7_12700K, "", core_types=HYBRID[:1]).hybrid  # its slow cores are turned off
    assert not describe(INTEL_I7_9750H, "").hybrid


@pytest.mark.parametrize(("text", "count"), [("0-11", 12), ("0", 1), ("0-3,8,10-11", 7), ("", 0)])
def test_processors_that_we_may_use(text: str, count: int) -> None:
    status = f"Cpus_allowed:\tfff\nCpus_allowed_list:\t{text}\nMems_allowed_list:\t0-1\n"
    assert allowed(status) == count
    assert describe(INTEL_I7_9750H, status).threads == (count or 12)


@given(st.text(st.sampled_from(":\n\t 0a-processflgphyidcucor"), max_size=200), st.text(max_size=40))
def test_any_text_is_a_processor(cpuinfo: str, status: str) -> None:
    cpu = describe(cpuinfo, status)
    assert cpu.sockets >= 1 and cpu.cores >= 1 and cpu.threads >= 1
    assert all("processor" in table for table in parse_cpuinfo(cpuinfo))
