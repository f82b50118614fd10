"""vCPUs: what is refused, what is only warned of, and what is given when nobody asks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pommel.errors import ConfigError
from pommel.machine.cpu_models import HostProcessor
from pommel.machine.topology import check_topology, default_vcpus, nearest_good, oversubscription

from .hosts import ALL, ARM, HASWELL, HYBRID, IVY_BRIDGE, SKYLAKE, XEONS, ZEN3

MANY = st.integers(1, 80)


@pytest.mark.parametrize(
    ("asked", "typed"),
    [
        ((1, 6, 6), "sockets = 3, cores = 2, threads = 6"),
        ((1, 3, 6), "sockets = 3, cores = 2, threads = 6"),
        ((6, 1, 6), "sockets = 3, cores = 2, threads = 6"),
        ((1, 10, 10), "sockets = 5, cores = 2, threads = 10"),
        ((1, 12, 12), "sockets = 3, cores = 4, threads = 12"),
        ((3, 2, 12), "sockets = 3, cores = 4, threads = 12"),
        ((1, 7, 14), "sockets = 7, cores = 2, threads = 14"),
        ((1, 10, 20), "sockets = 5, cores = 4, threads = 20"),
        ((1, 12, 24), "sockets = 3, cores = 8, threads = 24"),
        ((1, 3, 3), "sockets = 1, cores = 2, threads = 2"),
        ((1, 5, 5), "sockets = 1, cores = 4, threads = 4"),
        ((7, 1, 7), "sockets = 3, cores = 2, threads = 6"),
        ((1, 9, 18), "sockets = 1, cores = 16, threads = 16"),
        ((1, 28, 28), "sockets = 3, cores = 8, threads = 24"),
        ((1, 28, 56), "sockets = 1, cores = 32, threads = 32"),
        ((2, 6, 4), "sockets = 1, cores = 4, threads = 4"),  # does not divide
    ],
)
def test_what_hangs_is_refused_with_the_nearest_that_runs(asked: tuple[int, int, int], typed: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_topology(*asked, macos="14")
    assert refused.value.hint == f'set {typed} (or topology = "as-asked" to use it anyway)'
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "asked", [(1, 1, 1), (1, 2, 4), (2, 4, 8), (1, 16, 16), (4, 1, 4), (1, 32, 64), (3, 2, 6), (3, 4, 12), (3, 8, 24)]
)
def test_what_is_known_to_run(asked: tuple[int, int, int]) -> None:
    assert check_topology(*asked, macos="14") is None


def test_what_runs_for_somebody_is_a_warning() -> None:
    said = check_topology(1, 6, 12, macos="14")
    assert said == (
        "12 vCPUs as 1 × 6 × 2 (sockets × cores × threads per core) have worked with macOS 14 on an AMD Ryzen 7 5700X; "
        "on other hosts macOS may hang with them, and powers of two are safer"
    )


def test_other_guests_have_what_they_like() -> None:
    assert check_topology(1, 7, 7, macos=None) is None
    assert check_topology(2, 6, 4, macos=None) is None


@given(sockets=MANY, cores=MANY, total=st.integers(1, 512))
def test_what_is_proposed_is_never_refused_nor_more_than_asked(sockets: int, cores: int, total: int) -> None:
    good = nearest_good(total)
    assert check_topology(*good, macos="14") is None
    assert total / 2 < good[2] <= total
    try:
        check_topology(sockets, cores, total, macos="14")
    except ConfigError as refused:
        assert "sockets = {}, cores = {}, threads = {}".format(*good) in (refused.hint or "")


@pytest.mark.parametrize(
    ("host", "accel", "count"),
    [
        (SKYLAKE, "kvm", 4),
        (HYBRID, "kvm", 4),
        (XEONS, "kvm", 4),
        (HASWELL, "kvm", 4),
        (IVY_BRIDGE, "kvm", 2),
        (ZEN3, "kvm", 2),
        (replace(SKYLAKE, cores=1, threads=1), "kvm", 1),
        (replace(SKYLAKE, cores=3, threads=6), "kvm", 2),
        (replace(XEONS, threads=2), "kvm", 1),  # of its 80, two are ours
        (replace(SKYLAKE, clocksource="hpet"), "kvm", 1),
        (replace(SKYLAKE, clocksource=None), "kvm", 4),
        (SKYLAKE, "tcg", 2),
        (replace(ZEN3, clocksource="hpet"), "tcg", 2),
        (ARM, "tcg", 2),
        (replace(ARM, threads=2), "tcg", 1),
    ],
)
def test_vcpus_when_nobody_asks(host: HostProcessor, accel: str, count: int) -> None:
    got, why = default_vcpus(host, accel)
    assert got == count
    assert "vCPU" in why


@pytest.mark.parametrize("accel", ["kvm", "tcg"])
@pytest.mark.parametrize("host", ALL)
@given(threads=st.integers(1, 256), cores=st.integers(1, 128), sockets=st.integers(0, 8))
def test_the_default_is_always_safe(host: HostProcessor, accel: str, threads: int, cores: int, sockets: int) -> None:
    some = replace(host, threads=threads, cores=cores, sockets=sockets)
    count, _ = default_vcpus(some, accel)
    assert check_topology(1, count, count, macos="14") is None
    assert oversubscription(count, threads) is None


def test_more_than_the_host_has() -> None:
    assert oversubscription(8, 8) is None
    assert oversubscription(16, 8) == "16 vCPUs on a host that runs 8 threads at once: they will wait for each other"
