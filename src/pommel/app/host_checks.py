"""What there is to know of this host, as setup, doctor and the launch need it. Band: app. Looks only."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pommel import account
from pommel.app import tuning
from pommel.app.workspace import TRIAL, Workspace
from pommel.errors import PommelError
from pommel.host import accel, qemu_binary
from pommel.host.cpu import read_cpu
from pommel.host.qemu_version import qemu_version
from pommel.machine import disk
from pommel.machine.spec import MachineSpec
from pommel.machine.tuning import Problem, problems
from pommel.process import this_python


@dataclass(frozen=True, slots=True)
class Processor:
    """The host's processor in a line, and what about it will trouble the machine, the worst first."""

    text: str
    problems: tuple[Problem, ...]


def processor(workspace: Workspace, spec: MachineSpec) -> Processor:
    """Look at the processor with the eyes of machine `spec.name`."""
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
    """Whether guest code runs under KVM here, by running some.

    Raises:
        MissingProgram: QEMU is not installed.
        NotPermitted, MachineError: accel is kvm, and it cannot be.
    """
    qemu = str(qemu_binary.installed(spec.qemu))
    return accel.choose(spec.accel, partial(accel.probe_kvm, workspace.home.cache, qemu=qemu))


def vendor() -> str:
    """The processor's vendor: intel, amd or other."""
    return read_cpu().vendor


def free_bytes(workspace: Workspace) -> int:
    """How much room there is where machines go, or would."""
    there = workspace.home.machines
    return disk.free_bytes(next(path for path in (there, *there.parents) if path.is_dir()))


def own_command() -> tuple[str, ...]:
    """How to call this Pommel from anywhere: the front door of the checkout it runs from, else this interpreter."""
    door = Path(__file__).parents[3] / "pommel"
    inside = door.parent / ".venv"
    if door.is_file() and os.access(door, os.X_OK) and Path(sys.prefix) == inside:
        return (str(door),)
    return tuple(this_python("-m", "pommel"))


def data_home(env: Mapping[str, str] | None = None) -> Path:
    """The XDG directory that desktop entries and icons are under."""
    return account.folder(env, "XDG_DATA_HOME", ".local/share")
