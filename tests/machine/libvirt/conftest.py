"""A real libvirt: its QEMU driver in one process of virsh, as an ordinary user, with a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from isolation import patient


class Virsh:
    """`virsh` with libvirt's embedded driver (drvqemu, "Embedded driver"): what is started ends with the process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # As root the driver asks for the user libvirt-qemu, whom only a package of libvirt's makes.
        user = ("--unshare-user", "--uid", "1000", "--gid", "1000", "--setenv", "HOME", str(root))
        inside = ("--die-with-parent", "--dev-bind", "/", "/", *user, "--setenv", "XDG_RUNTIME_DIR", str(root))
        self._words = ["bwrap", *inside, "virsh", "-q", "-c", f"qemu:///embed?root={root}/embed"]

    def run(self, *commands: str, status: int = 0) -> str:
        done = subprocess.run(
            [*self._words, "; ".join(commands)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patient(60), check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def virsh() -> Iterator[Virsh]:
    root = Path(tempfile.mkdtemp(prefix="pl-"))  # short: sockets are made in it
    yield Virsh(root)
    shutil.rmtree(root)
