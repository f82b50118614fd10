"""Makes one machine's own disk and keys from the base image, in a few seconds. Band: shell.

The keys of both sides are made here and written into the disk before its first boot: the guest accepts only this
machine's key, and the host already knows the guest's key, so nobody has to trust a key on first use.
It needs no privilege and mounts nothing (debugfs writes into the image).
"""

from __future__ import annotations

import contextlib
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pommel import process
from pommel.errors import BuildError, CommandFailed
from pommel.progress import Progress, Report
from pommel.ssh import make_key
from pommel.trial import recipe
from pommel.trial.base import BaseImage
from pommel.trial.injecting import GuestFile, inject

TRIAL_USER = "trial"
MIN_DISK_BYTES = recipe.IMAGE_BYTES
_STEP = "trial disk"
_ROOT_HOME = "/root"  # in the guest
_UID = 1000  # the uid of TRIAL_USER in data/guest/setup.sh


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The files of one machine. `host_key` is the guest's public key as "TYPE BASE64"."""

    disk: Path
    private_key: Path
    public_key: Path
    known_hosts: Path
    host_key: str


def provision(
    directory: Path,
    base: BaseImage,
    *,
    name: str,
    disk_bytes: int,
    write: Callable[[Path, Path], None] | None = None,
    report: Report,
) -> Provisioned:
    """Make machine `name`'s disk and keys in `directory`, which the caller builds under another name.

    `disk_bytes` is the disk's size for the guest; its file starts at about 530 MB. In `known_hosts` the guest's name is
    `name` (HostKeyAlias). `write` makes the disk from a raw one, if it is not a plain qcow2.

    Raises:
        BuildError: the size is too small for the guest, the host's disk is full, or the base image is damaged.
    """
    if disk_bytes < MIN_DISK_BYTES:
        raise BuildError(
            f"a disk of {disk_bytes >> 20} MiB is too small for the trial machine",
            hint=f"give it at least {MIN_DISK_BYTES >> 20} MiB; unused space takes no space on the host",
        )
    report(Progress(_STEP, f"creating the keys of {name}"))
    keys = directory / "ssh"
    with _workplace(directory) as work, _explained():
        make_key(work / "host", f"root@{name}")
        keys.mkdir(mode=0o700)
        make_key(keys / "id_ed25519", f"pommel {name}")
        host_key = " ".join((work / "host.pub").read_text().split()[:2])
        (keys / "known_hosts").write_text(f"{name} {host_key}\n")
        made = Provisioned(
            disk=directory / "mac_hdd_ng.img",
            private_key=keys / "id_ed25519",
            public_key=keys / "id_ed25519.pub",
            known_hosts=keys / "known_hosts",
            host_key=host_key,
        )
        report(Progress(_STEP, "copying the base image"))
        raw = _raw_disk(work, base, disk_bytes)
        inject(raw, _guest_files(name, made.public_key.read_bytes(), work / "host"))
        report(Progress(_STEP, "writing the disk"))
        (write or _write_plain)(raw, made.disk)
    report(Progress(_STEP, f"the disk of {name} is created", finished=True))
    return made


def _write_plain(raw: Path, disk: Path) -> None:
    process.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk])


def _raw_disk(work: Path, base: BaseImage, disk_bytes: int) -> Path:
    raw = work / "disk.raw"
    process.run(["cp", "--sparse=always", "--reflink=auto", base.root_image, raw])
    raw.chmod(0o600)
    with raw.open("r+b") as disk:
        disk.truncate(disk_bytes // 4096 * 4096)
    # Forced, because it would require a check before; nobody has mounted this file system yet.
    process.run(["resize2fs", "-f", raw])
    return raw


def _guest_files(name: str, public_key: bytes, host: Path) -> list[GuestFile]:
    hostname = re.sub(r"[^a-z0-9-]+", "-", name).strip("-") or "trial"
    return [
        GuestFile("/etc/hostname", f"{hostname}\n".encode()),
        GuestFile("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n".encode()),
        GuestFile("/etc/machine-id", f"{uuid.uuid4().hex}\n".encode(), 0o444),
        GuestFile("/etc/ssh/ssh_host_ed25519_key", host.read_bytes(), 0o600),
        GuestFile("/etc/ssh/ssh_host_ed25519_key.pub", host.with_suffix(".pub").read_bytes()),
        GuestFile(f"{_ROOT_HOME}/.ssh/authorized_keys", public_key, 0o600),
        GuestFile(f"/home/{TRIAL_USER}/.ssh/authorized_keys", public_key, 0o600, _UID),
    ]


@contextlib.contextmanager
def _workplace(directory: Path) -> Iterator[Path]:
    work = directory / "provision.tmp"
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except CommandFailed as failure:
        full = "No space left" in failure.output
        what = "the disk is full" if full else failure.message
        hint = "free some space, or set POMMEL_HOME to a folder on a larger disk" if full else None
        raise BuildError(f"the machine's disk could not be created: {what}", hint=hint) from failure
