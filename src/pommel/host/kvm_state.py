"""The present state of KVM: whether it opens and creates a VM, and what else could change that. Band: shell.

It takes a millisecond, so it is checked each time: a device may appear and disappear, and another hypervisor may use
the processor for a minute. It runs no guest; `accel` does.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
from collections.abc import Iterator
from pathlib import Path

from pommel import account
from pommel.host.kvm_probe import KvmAnswer, group_hint

MODULES = Path("/sys/module")

_KVM_CREATE_VM = 0xAE01  # linux/kvm.h: _IO(KVMIO, 0x01)
# Hypervisors that use the processor's extensions exclusively, by their kernel module.
_RIVALS = {"vboxdrv": "VirtualBox", "vmmon": "VMware"}
_LOAD = "turn on VT-x or AMD-V in the firmware setup, then: sudo modprobe kvm_intel (or kvm_amd)"


def refusal(device: Path, modules: Path = MODULES) -> KvmAnswer | None:
    """Why KVM runs nothing now; None if it opens and creates a VM."""
    try:
        kvm = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return KvmAnswer(False, f"there is no {device}", hint=_LOAD)
    except PermissionError:
        return KvmAnswer(False, f"you have no permission to open {device}", hint=_permission_hint(device), denied=True)
    except OSError as failure:
        # systemd makes the node before the module is loaded; opening it fails with "No such device".
        hint = _LOAD if failure.errno in (errno.ENODEV, errno.ENXIO) else None
        return KvmAnswer(False, f"{device} cannot be opened: {failure.strerror}", hint=hint)
    try:
        os.close(fcntl.ioctl(kvm, _KVM_CREATE_VM, 0))
    except OSError as failure:
        if failure.errno != errno.ENOTTY:  # not KVM's device: QEMU's own message is clearer
            return KvmAnswer(False, f"KVM cannot start a machine: {failure.strerror}", hint=rival_hint(modules))
    finally:
        os.close(kvm)
    return None


def rival_hint(modules: Path = MODULES) -> str | None:
    """What to do about another loaded hypervisor; None if there is none."""
    loaded = [name for module, name in _RIVALS.items() if (modules / module).is_dir()]
    if not loaded:
        return None
    return f"{' and '.join(loaded)} may be using the processor: stop its machines, then try again"


def surroundings(modules: Path = MODULES) -> list[str]:
    """Everything that a running host can change and that affects KVM: modules and their options, sorted."""
    return sorted(_lines(modules))


def _lines(modules: Path) -> Iterator[str]:
    for folder in [*modules.glob("kvm*"), *(modules / rival for rival in _RIVALS)]:
        if not folder.is_dir():
            continue
        yield folder.name
        for option in (folder / "parameters").glob("*"):
            try:
                yield f"{folder.name}.{option.name}={option.read_text(errors='replace').strip()}"
            except OSError:
                continue  # some parameters are write-only


def _permission_hint(device: Path) -> str:
    try:
        group = grp.getgrgid(device.stat().st_gid)
    except (KeyError, OSError):  # a gid without a name, as in containers
        return f"ls -l {device} shows who has permission"
    if (user := account.name()) is None:
        return f"ls -l {device} shows who has permission"
    return group_hint(user, group.gr_name, group.gr_mem)
