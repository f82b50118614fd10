"""Tests whether KVM really runs guests on this host. Band: shell.

The test is a real guest (see `kvm_probe`). A "yes" is stored as long as the host runs with the same modules and QEMU,
and `kvm_state` checks each time whether KVM still creates a VM. A "no" is tested again: VirtualBox, a missing module or
a busy host may be the reason for a minute only. One kind of "no" is stored for an hour, because the test takes seconds
and only a restart changes the result: a host that is a guest itself, and whose KVM is emulated.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pommel import json_file, process
from pommel.host import kvm_state
from pommel.host.cpu import read_cpu
from pommel.host.kvm_probe import (
    BOOT_SECTOR,
    PROBE_CPU,
    Accel,
    KvmAnswer,
    choose,
    fatal_line,
    probe_argv,
    read_end,
)

__all__ = ["Accel", "KvmAnswer", "choose", "probe_kvm", "run_probe"]

_POLL_S = 0.02
_NO_S = 3600.0


def probe_kvm(
    cache: Path,
    *,
    qemu: str,
    cpu: str = PROBE_CPU,
    device: Path = Path("/dev/kvm"),
    limit_s: float = 3.0,
    fresh: bool = False,
    modules: Path = kvm_state.MODULES,
    host_is_guest: bool | None = None,
) -> KvmAnswer:
    """Test whether KVM executes guest code, by running some; a lasting result is stored in `cache`.

    `cpu` is QEMU's -cpu value; `fresh` tests again. `host_is_guest` says whether this host is a virtual machine; with
    None it is determined here. Every "no" is an answer, not an error.

    Raises:
        MissingProgram: that QEMU is not installed.
    """
    qemu = process.which(qemu)
    if refusal := kvm_state.refusal(device, modules):
        return refusal
    store = cache / "kvm.json"
    key = _key(qemu, cpu, modules)
    if not fresh and (known := _remembered(store, key)):
        return known
    answer, lasting = _ask(qemu, cpu, limit_s)
    if not answer.works and answer.hint is None:
        answer = replace(answer, hint=kvm_state.rival_hint(modules))
    if host_is_guest is None:
        host_is_guest = "hypervisor" in read_cpu().flags
    if answer.works or (lasting and host_is_guest):
        with contextlib.suppress(OSError):  # an answer that cannot be stored is only tested again
            json_file.write(store, {"key": key, "works": answer.works, "reason": answer.reason})
    return answer


def run_probe(qemu: str, accel: str, cpu: str, limit_s: float) -> tuple[bool, str] | None:
    """Run the test guest under `accel`: (worked, reason), or None if it was not done after `limit_s` seconds."""
    with tempfile.TemporaryDirectory(prefix="pommel-kvm-") as folder:
        sector, log = Path(folder, "sector.img"), Path(folder, "log")
        sector.write_bytes(BOOT_SECTOR)
        # Its folder is the working directory, because a QEMU that aborts may write a core file.
        child = process.spawn_detached(probe_argv(qemu, accel, sector, cpu), log, cwd=Path(folder), ends_with_us=True)
        try:
            return _outcome(child, log, time.monotonic() + limit_s)
        finally:
            child.kill()


def _outcome(child: process.Detached, log: Path, deadline: float) -> tuple[bool, str] | None:
    while True:
        late = time.monotonic() >= deadline
        status = child.exit_status()
        said = log.read_text(errors="replace")
        if status is not None:
            return read_end(status, said)
        if why := fatal_line(said):  # QEMU continues with its guest stopped, so waiting would not help
            return False, why
        if late:
            return None
        time.sleep(_POLL_S)


def _ask(qemu: str, cpu: str, limit_s: float) -> tuple[KvmAnswer, bool]:
    """The answer, and whether it is a "no" that lasts until the host restarts, if the host is a guest."""
    try:
        told = run_probe(qemu, "kvm", cpu, limit_s)
        # Late: if the host is only busy, the emulator, which needs a tenth of a second, is late as well.
        emulated = run_probe(qemu, "tcg", cpu, limit_s) if told is None else None
    except OSError as failure:
        return KvmAnswer(False, f"KVM could not be tested: {failure}"), False
    if told is not None:
        return KvmAnswer(*told), False
    slow = f"KVM needed more than {limit_s:g} s for a very short test"
    if emulated is not None and emulated[0]:
        return KvmAnswer(
            False, f"{slow}: on this host KVM is emulated, which is slower than QEMU's own emulation"
        ), True
    return KvmAnswer(False, f"{slow}; the host may be too busy for the test"), False


def _key(qemu: str, cpu: str, modules: Path) -> list[str | int]:
    """What the answer depends on: this boot, its modules, this QEMU binary (a new version is a new file), this CPU."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    binary = Path(qemu).stat()
    return [
        boot,
        os.path.realpath(qemu),
        binary.st_ino,
        binary.st_mtime_ns,
        binary.st_size,
        cpu,
        *kvm_state.surroundings(modules),
    ]


def _remembered(store: Path, key: list[str | int]) -> KvmAnswer | None:

    def made_of(kept: dict[str, Any]) -> KvmAnswer | None:
        if kept["key"] == key and isinstance(kept["works"], bool) and isinstance(kept["reason"], str):
            age_s = time.time() - store.stat().st_mtime
            if kept["works"] or 0 <= age_s < _NO_S:
                return KvmAnswer(kept["works"], kept["reason"], cached=True)
        return None

    return json_file.read_or(store, made_of, None)
