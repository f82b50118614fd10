"""passt, started for a real QEMU, and gone with it."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from pommel.app import passt
from pommel.machine.ports import next_free
from pommel.paths import Home, MachinePaths


def paths(tmp_path: Path) -> MachinePaths:
    found = Home(tmp_path / "h", tmp_path / "r", tmp_path / "c").machine("m")
    found.directory.mkdir(parents=True)
    return found


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait(until: object, want: bool) -> bool:
    stop = time.monotonic() + 20
    while time.monotonic() < stop:
        if until() is want:  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_it_forwards_while_qemu_lives_and_ends_with_it(tmp_path: Path) -> None:
    machine, port = paths(tmp_path), next_free(23000)
    passt.begin(machine, port)
    assert listens(port)
    stream = f"stream,id=n,server=off,addr.type=unix,addr.path={passt.place(machine)}"
    words = ["qemu-system-x86_64", "-accel", "tcg", "-display", "none", "-S", "-monitor", "none", "-nodefaults"]
    qemu = subprocess.Popen([*words, "-netdev", stream, "-device", "virtio-net-pci,netdev=n"], stdin=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        assert qemu.poll() is None
        assert listens(port)
    finally:
        qemu.kill()
        qemu.wait()
    assert wait(lambda: listens(port), False)


def test_one_that_no_qemu_met_is_ended(tmp_path: Path) -> None:
    machine, port = paths(tmp_path), next_free(23000)
    passt.begin(machine, port)
    passt.end(machine)
    assert wait(lambda: listens(port), False)
    assert not passt.place(machine).exists()
