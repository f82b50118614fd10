"""passt, started for a real QEMU, and gone with it."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from isolation import patient
from pommel.app.network import passt
from pommel.machine.forwards import parse_forward
from pommel.machine.ports import is_free, next_free
from pommel.paths import Home, MachinePaths


def paths(tmp_path: Path) -> MachinePaths:
    found = Home(tmp_path / "h", tmp_path / "r", tmp_path / "c").machine("m")
    found.directory.mkdir(parents=True)
    return found


def listens(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def wait(until: object, want: bool) -> bool:
    stop = time.monotonic() + patient(20)
    while time.monotonic() < stop:
        if until() is want:  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_it_forwards_while_qemu_lives_and_ends_with_it(tmp_path: Path) -> None:
    machine, port = paths(tmp_path), next_free(23000)
    asked = [parse_forward(text) for text in (f"{port + 1}:80", f"[::1]:{port + 2}:80", f"{port + 1}:53/udp")]
    passt.begin(machine, port, asked)
    assert listens(port) and listens(port + 1) and listens(port + 2, "::1")
    assert not is_free(port + 1, protocol="udp")
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
