"""The guest that tests KVM, and the meaning of its end. Band: core, no I/O.

A `/dev/kvm` that opens proves nothing: a host may refuse to run the guest's first instructions, or run them a hundred
times slower than an emulator. So the test is a real guest with real work: a boot sector that counts to fifty million
and then reports it through isa-debug-exit. TCG needs 0.2 s for it, firmware included, and hardware is faster; a KVM
that is emulated (seen on a host that is a guest itself) was not done after 20 s.

This module starts nothing; `accel` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pommel.errors import MachineError, NotPermitted

_PORT = 0xF4
_SAID = 0x2A
# hw/misc/debugexit.c: QEMU exits with (value << 1) | 1, which is not a status of its own.
EXIT_YES = _SAID << 1 | 1

BOOT_SECTOR = (
    bytes.fromhex(
        "fa"  # 7c00        cli                      nothing shall interrupt the count
        "66b980f0fa02"  # 7c01        mov  ecx, 50_000_000
        "6649"  # 7c07  loop: dec  ecx
        "75fc"  # 7c09        jnz  loop
        "baf400"  # 7c0b        mov  dx, 0xf4            isa-debug-exit's port
        "b02a"  # 7c0e        mov  al, 0x2a
        "ee"  # 7c10        out  dx, al              QEMU ends here
        "f4"  # 7c11  stop: hlt
        "ebfd"  # 7c12        jmp  stop
    ).ljust(510, b"\0")
    + b"\x55\xaa"  # 7dfe        what makes it a boot sector
)

# The test uses the model that will run: a named Intel model with the flags of macOS command lines, which make KVM
# set up the TSC and the frequency leaf. Not `host`: it fails on MSRs that none of our macOS machines needs.
PROBE_CPU = "Haswell-noTSX,vendor=GenuineIntel,+invtsc,vmware-cpuid-freq=on"

_FATAL = (
    (re.compile(r"KVM internal error\. Suberror: \d+"), "KVM stopped the guest at once: {0}"),
    (re.compile(r"failed to set MSR 0x[0-9a-f]+"), "KVM cannot set up a virtual CPU: {0}"),
    (re.compile(r"(?:Could not access KVM kernel module|failed to initialize kvm)[^\n]*"), "{0}"),
)


@dataclass(frozen=True, slots=True)
class KvmAnswer:
    """Whether KVM runs guests here, and why. `denied`: a permission is missing; `hint` says how to get it."""

    works: bool
    reason: str
    cached: bool = False
    hint: str | None = None
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Accel:
    """How guest code will run (`kvm` or `tcg`), and the reason."""

    kind: str
    reason: str
    hint: str | None = None


def probe_argv(qemu: str, accel: str, sector: Path, cpu: str = PROBE_CPU) -> list[str]:
    """Build the QEMU command line that boots the sector under `accel` and shows nothing.

    The machine is `pc`: its firmware boots a bare sector faster than q35's, and for KVM there is no difference.
    """
    return [
        qemu,
        *("-accel", accel, "-machine", "pc", "-cpu", cpu, "-m", "64", "-smp", "1"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-device", f"isa-debug-exit,iobase={_PORT:#x},iosize=1"),
        *("-drive", f"format=raw,file={str(sector).replace(',', ',,')}"),
    ]


def fatal_line(log: str) -> str | None:
    """The reason in QEMU's output why KVM will never run this guest, even if QEMU itself continues."""
    for pattern, says in _FATAL:
        if found := pattern.search(log):
            return says.format(found[0].strip())
    return None


def read_end(exit_status: int, log: str) -> tuple[bool, str]:
    """The result of a test that has ended, from its exit status (negative: a signal) and its output."""
    if exit_status == EXIT_YES:
        return True, "KVM runs guest code"
    if why := fatal_line(log):
        return False, why
    how = f"signal {-exit_status}" if exit_status < 0 else f"exit status {exit_status}"
    last = next((line for line in reversed(log.splitlines()) if line and "requested feature" not in line), "")
    return False, f"QEMU ended the test guest with {how}" + (f": {last}" if last else "")


def choose(wanted: str, ask: Callable[[], KvmAnswer]) -> Accel:
    """Choose the accelerator for `wanted` (auto, kvm or tcg); `ask` is called only if the answer matters.

    Raises:
        NotPermitted: kvm is wanted, but this user has no permission.
        MachineError: kvm is wanted, but it does not run guests here.
    """
    if wanted == "tcg":
        return Accel("tcg", "as configured")
    answer = ask()
    if answer.works:
        return Accel("kvm", answer.reason)
    if wanted == "kvm":
        kind = NotPermitted if answer.denied else MachineError
        raise kind(
            f"accel is kvm, but KVM cannot be used: {answer.reason}",
            hint=answer.hint or 'set accel = "auto" to run without it, which is slow',
        )
    return Accel("tcg", answer.reason, answer.hint)


def group_hint(user: str, group: str, members: Sequence[str]) -> str:
    """The command with which `user` may open a /dev/kvm that belongs to `group`."""
    if group == "root":
        return f"sudo setfacl -m u:{user}:rw /dev/kvm"
    if user in members:
        return f"you are already in the group {group}, but this session began before that: log out and in again"
    return f"sudo usermod -aG {group} {user}, then log out and in again"
