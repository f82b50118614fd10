from __future__ import annotations

from typing import Any

import pytest

from pommel.machine.commandline import CommandLine
from pommel.machine.origins import PRISTINE, OriginStage, trace
from pommel.machine.rules import apply_rules
from pommel.machine.user_words import HostLimits, decided, warnings

from .given import KVM, TCG, placement, spec, upstream_words

HOST = HostLimits(memory_bytes=8 << 30, threads=2)
SMALL = ("-m", "2048", "-smp", "2,cores=2", "-cpu", "Penryn,kvm=on,+invtsc")


def own(*words: str) -> CommandLine:
    """A command line of which `words` are the user's and SMALL the upstream's."""
    return trace("qemu", [OriginStage(PRISTINE, SMALL), OriginStage("patches/p.patch", (*SMALL, *words))]).line


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (("-m", "16384"), {"memory"}),
        (("-smp", "12,cores=6"), {"sockets", "cores", "threads"}),
        (("-cpu", "host"), {"cpu", "cpu_flags"}),
        (("-device", "usb-mouse"), set()),
    ],
)
def test_a_users_word_decides_its_settings(words: tuple[str, ...], settings: set[str]) -> None:
    assert decided(own(*words)) == settings


def test_the_upstreams_own_words_decide_nothing() -> None:
    assert decided(own()) == frozenset()


def told(line: CommandLine, accel: str = "kvm", **values: Any) -> str:
    return "\n".join(warnings(line, spec(**values), HOST, accel))


@pytest.mark.parametrize("memory", ["16384", "16G", "size=16G", "16384M", "size=16384,slots=2"])
def test_more_memory_than_there_is_is_told_with_the_word_and_the_setting(memory: str) -> None:
    text = told(own("-m", memory))
    assert text.startswith(f"patches/p.patch: -m {memory} is more than the 8 GiB")
    assert "memory = " in text
    assert not told(own("-m", memory), memory=4 << 30)


def test_what_fits_is_not_told() -> None:
    assert told(own("-m", "8192", "-smp", "2", "-cpu", "host,+invtsc")) == ""


def test_the_upstreams_own_words_are_not_told() -> None:
    big = trace("qemu", [OriginStage(PRISTINE, ("-m", "999G", "-smp", "64"))]).line
    assert told(big) == ""


def test_more_vcpus_than_the_host_runs_at_once() -> None:
    assert "-smp 12,cores=6 is 12 vCPUs on a host that runs 2 threads at once" in told(own("-smp", "12,cores=6"))
    assert not told(own("-smp", "12,cores=6"), cores=2)


def test_what_only_kvm_has_is_told_under_emulation() -> None:
    line = own("-cpu", "host,+invtsc,kvm=on,+avx2,enforce")
    text = told(line, "tcg")
    assert "host is a CPU model that only KVM has" in text
    assert "+invtsc, kvm=on: only KVM has this" in text
    assert "enforce" in text
    assert told(line, "kvm") == ""


def test_settings_that_this_host_cannot_do_are_told_too() -> None:
    text = told(own(), "tcg", memory=64 << 30, cpu="host", cpu_flags=("+invtsc", "+avx2"))
    assert "memory = 64 GiB is more than the 8 GiB" in text
    assert "cpu = host" in text
    assert "cpu_flags +invtsc: only KVM" in text


def cpu_of(words: tuple[str, ...], origin: str, **values: Any) -> str:
    line = trace("qemu", [OriginStage(origin, (*upstream_words("code_4m"), *words))]).line
    (cpu,) = apply_rules(line, spec(**values), TCG, placement()).command_line.find("cpu")
    return cpu.value or ""


def test_under_emulation_a_users_word_stays_and_the_upstreams_is_left_out() -> None:
    words = ("-cpu", "Penryn,kvm=on,+invtsc,check")
    assert cpu_of(words, PRISTINE) == "Penryn,check"
    assert cpu_of(words, "own.sh") == "Penryn,kvm=on,+invtsc,check"
    assert cpu_of(words, PRISTINE, cpu_flags=("+invtsc",)) == "Penryn,+invtsc,check"


def test_enforce_would_end_qemu_under_emulation() -> None:
    assert cpu_of(("-cpu", "host,+avx2,enforce"), "own.sh") == "max,+avx2,check"


def test_with_kvm_a_users_cpu_stays_word_for_word() -> None:
    line = trace("qemu", [OriginStage("own.sh", (*upstream_words("code_4m"), "-cpu", "host,+invtsc,enforce"))]).line
    (cpu,) = apply_rules(line, spec(), KVM, placement()).command_line.find("cpu")
    assert cpu.value == "host,+invtsc,enforce"


def test_a_name_and_a_uuid_of_the_users_stand() -> None:
    words = ("-name", "mine", "-uuid", "666a2830-0000-4000-8000-000000000001")
    for origin, kept in ((PRISTINE, False), ("own.sh", True)):
        line = trace("qemu", [OriginStage(origin, (*upstream_words("code_4m"), *words))]).line
        done = apply_rules(line, spec(), KVM, placement()).command_line
        assert ([done.find("name")[0].value, done.find("uuid")[0].value] == [words[1], words[3]]) is kept
