"""A home with a machine of two small disks that nobody boots, and what its image is compared by."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from machine.bare import short_home
from pommel import ssh
from pommel.app.workspace import Workspace
from pommel.machine import identity, record
from pommel.machine.record import MachineRecord
from pommel.paths import Home, MachinePaths
from pommel.process import run

MIB = 1 << 20
DISK_BYTES = 40 * MIB


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with short_home() as home:
        yield workspace_of(home)


@pytest.fixture
def other() -> Iterator[Workspace]:
    """Another host's home."""
    with short_home() as home:
        yield workspace_of(home)


def workspace_of(home: Home) -> Workspace:
    home.root.mkdir(parents=True, exist_ok=True)
    cwd = home.root.parent / "cwd"
    cwd.mkdir(exist_ok=True)
    return Workspace(home, cwd, {"PATH": os.environ["PATH"], "HOME": str(home.root.parent)})


def make_machine(workspace: Workspace, name: str = "m", **more: object) -> MachinePaths:
    """A machine with patterned disks, of which most is zeros, and a key."""
    paths = workspace.paths(name)
    (paths.directory / "ssh").mkdir(parents=True)
    fresh = identity.new_identity(os.urandom(identity.RANDOM_BYTES))
    kept = MachineRecord(name, "trial", fresh.uuid, fresh.mac, 2222, "2026-01-01T00:00:00+00:00")
    record.save(paths.record, replace(kept, **more))  # type: ignore[arg-type]
    disk(paths.disk, DISK_BYTES, seed=1)
    disk(paths.directory / "disk-data.qcow2", 8 * MIB, seed=2)
    paths.nvram.write_bytes(b"variables" * 1000)
    ssh.make_key(paths.ssh_key, f"pommel {name}")
    paths.known_hosts.write_text(f"{name} ssh-ed25519 AAAA\n")
    return paths


def disk(path: Path, size: int, *, seed: int) -> None:
    """A qcow2 disk with 1 MiB of noise in each third piece of 4 MiB."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(size)])
    for at in range(0, size, 12 * MIB):
        write(path, at, random.Random(seed + at).randbytes(MIB))


def write(path: Path, at: int, data: bytes) -> None:
    """Change what the guest sees at `at`."""
    source = path.with_suffix(".part")
    source.write_bytes(data)
    run(["qemu-io", "-f", "qcow2", "-c", f"write -q -s {source} {at} {len(data)}", path])
    source.unlink()


def same(one: MachinePaths, other: MachinePaths) -> None:
    """See that two machines' disks hold the same, and are sound."""
    for name in ("mac_hdd_ng.img", "disk-data.qcow2"):
        run(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", one.directory / name, other.directory / name])
        run(["qemu-img", "check", "-q", other.directory / name])
