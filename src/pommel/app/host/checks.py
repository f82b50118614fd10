"""Facts about this host for setup, doctor and starts. Band: app. It only looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pommel import account
from pommel.app.argv import tuning
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import PommelError
from pommel.host import accel, qemu_binary
from pommel.host.cpu import read_cpu
from pommel.host.qemu_version import qemu_version
from pommel.machine import disk
from pommel.machine.spec import MachineSpec
from pommel.machine.tuning import HostProblem, problems
from pommel.process import this_python


@dataclass(frozen=True, slots=True)
class Processor:
    """The host's processor in one line, and its problems for the machine, the worst first."""

    text: str
    problems: tuple[HostProblem, ...]


def processor(workspace: Workspace, spec: MachineSpec) -> Processor:
    """Check the processor for machine `spec.name`."""
    cpu = read_cpu()
    text = f"{cpu.model_name or cpu.vendor}, {cpu.cores} cores, {cpu.threads} threads"
    text += f", {cpu.virtualization}" if cpu.virtualization else ""
    if spec.macos is None or spec.upstream == TRIAL:
        return Processor(text, ())
    try:
        kind = accelerator(workspace, spec).kind
    except PommelError:
        kind = "kvm" if cpu.virtualization else "tcg"
    version = qemu_version(str(qemu_binary.installed(spec.qemu)), workspace.home.cache) if kind == "tcg" else ()
    host = tuning.host_processor(cpu)
    return Processor(
        text, tuple(problems(host, spec.macos, kind, memory_bytes=spec.memory_bytes, qemu_version=version))
    )


def accelerator(workspace: Workspace, spec: MachineSpec) -> accel.Accel:
    """The accelerator. KVM is tested by running some guest code.

    Raises:
        MissingProgram: QEMU is not installed.
        NotPermitted, MachineError: accel is kvm, and KVM does not work.
    """
    qemu = str(qemu_binary.installed(spec.qemu))
    return accel.choose(spec.accel, partial(accel.probe_kvm, workspace.home.cache, qemu=qemu))


def vendor() -> str:
    """The processor's vendor: intel, amd or other."""
    return read_cpu().vendor


def free_bytes(workspace: Workspace) -> int:
    """The free space where machines are stored."""
    there = workspace.home.machines
    # The folder may not exist yet: its nearest existing parent is on the same file system.
    return disk.free_bytes(next(path for path in (there, *there.parents) if path.is_dir()))


def own_command() -> tuple[str, ...]:
    """The command for this Pommel from any folder: the script `pommel` of its checkout, or else this interpreter."""
    door = Path(__file__).parents[4] / "pommel"
    inside = door.parent / ".venv"
    if door.is_file() and os.access(door, os.X_OK) and Path(sys.prefix) == inside:
        return (str(door),)
    return tuple(this_python("-m", "pommel"))


def data_home(env: Mapping[str, str] | None = None) -> Path:
    """The XDG directory for desktop entries and icons."""
    return account.folder(env, "XDG_DATA_HOME", ".local/share")
