"""Does KVM really run guests here? Band: shell.

Asks by running one (see `kvm_probe`) and remembers the answer until the host restarts. What a user can change without a
restart is never remembered: a missing device, a permission, and a guest that was late on a host that may just be busy.
"""

from __future__ import annotations

import contextlib
import getpass
import grp
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from pommel import process
from pommel.host.kvm_probe import (
    BOOT_SECTOR,
    PROBE_CPU,
    Accel,
    KvmAnswer,
    choose,
    fatal_line,
    group_hint,
    probe_argv,
    read_end,
)
from pommel.paths import write_atomic

__all__ = ["Accel", "KvmAnswer", "choose", "probe_kvm", "run_probe"]

_POLL_S = 0.02


def probe_kvm(
    cache: Path,
    *,
    qemu: str,
    cpu: str = PROBE_CPU,
    device: Path = Path("/dev/kvm"),
    limit_s: float = 3.0,
    fresh: bool = False,
) -> KvmAnswer:
    """Find out whether KVM executes guest code, by executing some; remembered in `cache` until the host restarts.

    `cpu` is QEMU's -cpu value; `fresh` asks again. Every "no" is an answer, not an error.

    Raises:
        MissingProgram: there is no such QEMU.
    """
    qemu = process.which(qemu)
    if refusal := _opens(device):
        return refusal
    store = cache / "kvm.json"
    key = _key(qemu, cpu)
    if not fresh and (known := _remembered(store, key)):
        return known
    answer, lasting = _ask(qemu, cpu, limit_s)
    if lasting:
        with contextlib.suppress(OSError):  # an answer that cannot be kept is asked again, no more
            write_atomic(store, json.dumps({"key": key, "works": answer.works, "reason": answer.reason}))
    return answer


def run_probe(qemu: str, accel: str, cpu: str, limit_s: float) -> tuple[bool, str] | None:
    """Run the test guest under `accel`: (worked, reason), or None when it was not done after `limit_s` seconds."""
    with tempfile.TemporaryDirectory(prefix="pommel-kvm-") as folder:
        sector, log = Path(folder, "sector.img"), Path(folder, "log")
        sector.write_bytes(BOOT_SECTOR)
        # Its folder is the working directory: a QEMU that aborts may drop a core file.
        child = process.spawn_detached(probe_argv(qemu, accel, sector, cpu), log, cwd=Path(folder))
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
        if why := fatal_line(said):  # QEMU lives on with its guest stopped; waiting would not help
            return False, why
        if late:
            return None
        time.sleep(_POLL_S)


def _ask(qemu: str, cpu: str, limit_s: float) -> tuple[KvmAnswer, bool]:
    """The answer, and whether it will hold until the host restarts."""
    try:
        told = run_probe(qemu, "kvm", cpu, limit_s)
        # Late: is the host just busy? Then the emulator, which needs a tenth of a second, is late as well.
        emulated = run_probe(qemu, "tcg", cpu, limit_s) if told is None else None
    except OSError as failure:
        return KvmAnswer(False, f"KVM could not be tried: {failure}"), False
    if told is not None:
        return KvmAnswer(*told), True
    slow = f"KVM took over {limit_s:g} s for what takes an instant"
    if emulated is not None and emulated[0]:
        return KvmAnswer(False, f"{slow}: on this host it only emulates, slower than QEMU does itself"), True
    return KvmAnswer(False, f"{slow}; the host may be too busy to tell"), False


def _opens(device: Path) -> KvmAnswer | None:
    """The refusal, or None when this user may open the device for reading and writing."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return KvmAnswer(
            False,
            f"there is no {device}",
            hint="turn on VT-x or AMD-V in the firmware setup, then: sudo modprobe kvm_intel (or kvm_amd)",
        )
    except PermissionError:
        return KvmAnswer(False, f"you may not open {device}", hint=_permission_hint(device), denied=True)
    except OSError as failure:
        return KvmAnswer(False, f"{device} does not open: {failure.strerror}")
    return None


def _permission_hint(device: Path) -> str:
    try:
        group = grp.getgrgid(device.stat().st_gid)
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid or gid without a name, as containers have them
        return f"ls -l {device} shows who may"
    return group_hint(user, group.gr_name, group.gr_mem)


def _key(qemu: str, cpu: str) -> list[str | int]:
    """What the answer depends on: this boot, this QEMU binary (a new version is a new file), this CPU."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    binary = Path(qemu).stat()
    return [boot, os.path.realpath(qemu), binary.st_ino, binary.st_mtime_ns, binary.st_size, cpu]


def _remembered(store: Path, key: list[str | int]) -> KvmAnswer | None:
    try:
        kept: Any = json.loads(store.read_text())
        if kept["key"] == key and isinstance(kept["works"], bool) and isinstance(kept["reason"], str):
            return KvmAnswer(kept["works"], kept["reason"], cached=True)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent or damaged: ask again
    return None
