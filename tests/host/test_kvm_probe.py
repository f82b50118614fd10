"""The probe's guest, and what its end means."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel.errors import MachineError, NotPermitted
from pommel.host.accel import run_probe
from pommel.host.kvm_probe import (
    BOOT_SECTOR,
    EXIT_YES,
    PROBE_CPU,
    Accel,
    KvmAnswer,
    choose,
    fatal_line,
    group_hint,
    probe_argv,
    read_end,
)

YES = KvmAnswer(True, "KVM runs guest code")
NO = KvmAnswer(False, "there is no /dev/kvm", hint="turn it on")
DENIED = KvmAnswer(False, "you have no permission to open /dev/kvm", hint="join the group", denied=True)

# As QEMU 7.2 printed them on hosts whose KVM does not run guests.
SUBERROR = """\
qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]
KVM internal error. Suberror: 1
extra data[0]: 0x0000000000000000
emulation failure
EAX=00000000 EBX=00000000 ECX=00000000 EDX=000306c1
"""
MSR = """\
qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69
qemu-system-x86_64: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.
"""


def test_the_sector_is_a_sector() -> None:
    assert len(BOOT_SECTOR) == 512
    assert BOOT_SECTOR.endswith(b"\x55\xaa")


@pytest.mark.parametrize("cpu", [PROBE_CPU, "qemu64"])
def test_the_guest_really_runs_and_says_yes(cpu: str) -> None:
    """So that a "no" under KVM is never the fault of the guest or of its command line."""
    assert run_probe("qemu-system-x86_64", "tcg", cpu, 60) == (True, "KVM runs guest code")


def test_the_command_line_escapes_a_comma() -> None:
    argv = probe_argv("qemu", "kvm", Path("/tmp/a,b"))
    assert argv[:3] == ["qemu", "-accel", "kvm"]
    assert argv[-1] == "format=raw,file=/tmp/a,,b"


@pytest.mark.parametrize(
    ("status", "log", "works", "reason"),
    [
        (EXIT_YES, "", True, "KVM runs guest code"),
        (EXIT_YES, "warning: whatever", True, "KVM runs guest code"),
        (0, "", False, "QEMU ended the test guest with exit status 0"),
        (1, "qemu: first\nqemu: last\n", False, "QEMU ended the test guest with exit status 1: qemu: last"),
        (-11, "w: requested feature: x\n", False, "QEMU ended the test guest with signal 11"),
        (-6, MSR, False, "KVM cannot set up a virtual CPU: failed to set MSR 0x10a"),
        (-15, SUBERROR, False, "KVM stopped the guest at once: KVM internal error. Suberror: 1"),
        (
            1,
            "Could not access KVM kernel module: No such device\nqemu: failed to initialize kvm\n",
            False,
            "Could not access KVM kernel module: No such device",
        ),
    ],
)
def test_how_an_end_is_read(status: int, log: str, works: bool, reason: str) -> None:
    assert read_end(status, log) == (works, reason)


def test_what_is_not_fatal() -> None:
    assert fatal_line("") is None
    assert fatal_line("qemu-system-x86_64: warning: host doesn't support requested feature: x") is None


@pytest.mark.parametrize(
    ("wanted", "answer", "chosen"),
    [
        ("auto", YES, Accel("kvm", YES.reason)),
        ("kvm", YES, Accel("kvm", YES.reason)),
        ("auto", NO, Accel("tcg", NO.reason, NO.hint)),
        ("auto", DENIED, Accel("tcg", DENIED.reason, DENIED.hint)),
    ],
)
def test_what_is_chosen(wanted: str, answer: KvmAnswer, chosen: Accel) -> None:
    assert choose(wanted, lambda: answer) == chosen


def test_tcg_asks_nothing() -> None:
    def ask() -> KvmAnswer:
        raise RuntimeError("asked")

    assert choose("tcg", ask) == Accel("tcg", "as configured")


@pytest.mark.parametrize(("answer", "kind"), [(NO, MachineError), (DENIED, NotPermitted)])
def test_kvm_that_cannot_be_had(answer: KvmAnswer, kind: type[Exception]) -> None:
    with pytest.raises(kind) as refusal:
        choose("kvm", lambda: answer)
    assert answer.reason in str(refusal.value)
    assert refusal.value.hint == answer.hint  # type: ignore[attr-defined]


def test_kvm_that_cannot_be_had_for_no_curable_reason() -> None:
    with pytest.raises(MachineError) as refusal:
        choose("kvm", lambda: KvmAnswer(False, "broken"))
    assert refusal.value.hint == 'set accel = "auto" to run without it, which is slow'


def test_hints_for_the_group() -> None:
    assert group_hint("ann", "kvm", ["bob"]) == "sudo usermod -aG kvm ann, then log out and in again"
    assert "log out and in again" in group_hint("ann", "kvm", ["ann"])
    assert "usermod" not in group_hint("ann", "kvm", ["ann"])
    assert group_hint("ann", "root", []) == "sudo setfacl -m u:ann:rw /dev/kvm"
