"""The whole choice: each key with its reason, beside what a person asked for, through the rules, and in the real QEMU."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import ConfigError
from pommel.machine.rules.processor import read_topology
from pommel.machine.spec import SETTINGS
from pommel.machine.tuning import HostProcessor, check_topology, choose

from .given import KVM, LAYOUTS, TCG, overlaid, upstream_line
from .hosts import ALL, GIB, SKYLAKE, VERSIONS, ZEN2, ZEN3

KEYS = {"cpu", "cpu_flags", "sockets", "cores", "threads", "memory"}


@pytest.mark.parametrize("accel", ["kvm", "tcg"])
@pytest.mark.parametrize("host", ALL)
@pytest.mark.parametrize("macos", VERSIONS)
def test_every_key_is_a_setting_with_a_value_and_one_line_of_reason(
    host: HostProcessor, macos: str, accel: str
) -> None:
    chosen = choose(host, macos, accel).chosen
    assert set(chosen) - {"cpu_flags"} == KEYS - {"cpu_flags"}
    assert set(chosen) <= {setting.key for setting in SETTINGS}
    for one in chosen.values():
        assert one.value and one.reason and "\n" not in one.reason


def test_a_version_that_is_none() -> None:
    with pytest.raises(ConfigError, match="macos = 'sonoma' is not a version number"):
        choose(ZEN3, "sonoma", "kvm")


@pytest.mark.parametrize(
    ("host_gib", "size_gib", "why"),
    [
        (2, 4, "more than half"),
        (6, 4, "more than half"),
        (7.6, 4, "half"),
        (11.7, 6, "half"),
        (15.5, 8, "half"),
        (64, 8, "no more than 8"),
    ],
)
def test_memory(host_gib: float, size_gib: int, why: str) -> None:
    chosen = choose(replace(ZEN3, memory_bytes=int(host_gib * GIB)), "14", "kvm").chosen["memory"]
    assert chosen.value == size_gib * GIB
    assert why in chosen.reason and f"{size_gib} GiB" in chosen.reason


def test_the_upstreams_own_model_is_pinned() -> None:
    assert (
        choose(ZEN3, "14", "kvm", "Skylake-Client")
        .chosen["cpu"]
        .reason.endswith(" (the upstream's value, kept even if the upstream changes it)")
    )
    assert "upstream's value" not in choose(ZEN3, "14", "kvm", "Penryn").chosen["cpu"].reason


def test_what_is_asked_for_stands_and_is_not_mixed_with_what_is_not() -> None:
    tuning = choose(ZEN3, "14", "kvm")
    assert set(tuning.beside({})) == KEYS
    assert set(tuning.beside({"cpu": "Penryn"})) == KEYS - {"cpu", "cpu_flags"}
    assert set(tuning.beside({"cpu": "Penryn", "cpu_flags": ("+avx",)})) == KEYS - {"cpu", "cpu_flags"}
    for key in ("sockets", "cores", "threads"):
        assert set(tuning.beside({key: 2})) == {"cpu", "cpu_flags", "memory"}
    assert set(tuning.beside({"memory": 4 * GIB})) == KEYS - {"memory"}


def test_flags_alone_are_laid_over_the_chosen_ones() -> None:
    flags = choose(ZEN2, "14", "kvm").beside({"cpu_flags": ("+erms", "+fma")})["cpu_flags"]
    assert flags.value == ("-hle", "-rtm", "-invpcid", "-pcid", "-tsc-deadline", "+erms", "+fma")
    assert flags.reason.endswith("; and as requested: +erms +fma")
    assert "cpu_flags" not in choose(SKYLAKE, "12", "tcg").beside({"cpu": "Nehalem", "cpu_flags": ("+avx",)})


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("host", ALL)
@pytest.mark.parametrize("macos", ["12", "13", "14"])
def test_through_the_rules_on_either_layout(layout: str, host: HostProcessor, macos: str) -> None:
    chosen = choose(host, macos, "kvm").chosen
    reasons = {key: one.reason for key, one in chosen.items()}
    line = overlaid(upstream_line(layout), facts=KVM, reasons=reasons, **{k: c.value for k, c in chosen.items()})
    (cpu,) = line.command_line.find("cpu")
    (smp,) = line.command_line.find("smp")
    topology = read_topology(smp.sub)
    assert cpu.sub.head == chosen["cpu"].value
    # Whatever the layout: the flags that are chosen, in their order where they are new, and never both signs of one.
    flags = [key for key, _ in cpu.sub.pairs]
    assert set(chosen["cpu_flags"].value if "cpu_flags" in chosen else ()) <= set(flags)
    assert len({flag.lstrip("+-") for flag in flags}) == len(flags)
    assert flags[-1] == "check"
    assert check_topology(topology.sockets, topology.cores, topology.total, macos=macos) is None
    assert topology.total == chosen["threads"].value


def test_what_the_upstream_has_already_is_left_where_it_is() -> None:
    chosen = choose(SKYLAKE, "14", "kvm").chosen
    line = overlaid(upstream_line("code_4m"), **{k: c.value for k, c in chosen.items() if k in ("cpu", "cpu_flags")})
    assert [cpu.words for cpu in line.command_line.find("cpu")] == [cpu.words for cpu in upstream_line().find("cpu")]
    assert not any(change.rule == "cpu" for change in line.changes)


def test_both_layouts_come_to_the_same() -> None:
    chosen = choose(ZEN2, "14", "kvm").chosen
    words = [
        overlaid(upstream_line(layout), **{key: one.value for key, one in chosen.items()}).command_line.words
        for layout in LAYOUTS
    ]
    old, new = (dict(itertools.pairwise(line)) for line in words)
    assert (old["-m"], old["-smp"]) == (new["-m"], new["-smp"])
    assert sorted(old["-cpu"].split(",")) == sorted(new["-cpu"].split(","))


@given(host=st.sampled_from(ALL), macos=st.sampled_from(VERSIONS))
def test_under_tcg_nothing_is_left_that_only_kvm_has(host: HostProcessor, macos: str) -> None:
    chosen = choose(host, macos, "tcg").chosen
    line = overlaid(upstream_line(), facts=TCG, **{key: one.value for key, one in chosen.items()})
    (cpu,) = line.command_line.find("cpu")
    assert not cpu.sub.has("kvm", "+invtsc", "-invtsc", "vmware-cpuid-freq")
