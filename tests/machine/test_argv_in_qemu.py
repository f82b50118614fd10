"""The finished command line, given to the real QEMU with small files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from free_ports import free_port
from isolation import patient
from pommel.locks import holder
from pommel.machine.boot_choices import BootChoice
from pommel.machine.firmware import find_pair, prepare_nvram
from pommel.machine.rules import apply_rules
from pommel.machine.upstream_files import upstream_files
from pommel.process import Detached, run, spawn_detached

from .given import LAYOUTS, TCG, placement, spec, upstream_line

OVMF = Path("/usr/share/OVMF")


class Qmp:
    """Just enough of QMP for a test; the product's own stands elsewhere and is not what is tested here."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")
        self.greeting = self._read()
        self.ask("qmp_capabilities")

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._lines.readline())
        return found

    def ask(self, command: str, **arguments: Any) -> Any:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while "return" not in (answer := self._read()):
            assert "error" not in answer, answer
        return answer["return"]

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, since socket paths have to be; with a comma, since a path may have one."""
    with tempfile.TemporaryDirectory(prefix="pm,") as made:
        yield Path(made)


def upstream_in(folder: Path) -> Path:
    upstream = folder / "up"
    (upstream / "OpenCore").mkdir(parents=True)
    for name in ("OVMF_CODE.fd", "OVMF_CODE_4M.fd"):
        shutil.copy(OVMF / name, upstream / name)
    shutil.copy(OVMF / "OVMF_VARS.fd", upstream / "OVMF_VARS-1920x1080.fd")
    for image in (upstream / "OpenCore" / "OpenCore.qcow2", folder / "mac_hdd_ng.img"):
        run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"])
    (folder / "BaseSystem.img").write_bytes(bytes(1 << 20))
    return upstream


@contextlib.contextmanager
def started(argv: tuple[str, ...], folder: Path, secret: bytes | None = None) -> Iterator[Detached]:
    env = {**os.environ, "TMPDIR": str(folder)}
    child = spawn_detached(argv, folder / "qemu.log", env=env, input=secret)
    try:
        yield child
    finally:
        child.kill()


def connect(child: Detached, path: Path, log: Path) -> Qmp:
    stop = time.monotonic() + patient(60)
    while time.monotonic() < stop:
        with contextlib.suppress(OSError):
            return Qmp(path)
        assert child.exit_status() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError("no QMP in a minute")


def check_machine(qmp: Qmp, folder: Path) -> None:
    assert qmp.greeting["QMP"]["version"]
    assert qmp.ask("query-status")["status"] == "running"
    assert qmp.ask("query-name") == {"name": "sonoma"}
    assert qmp.ask("query-uuid")["UUID"] == placement().uuid
    assert qmp.ask("query-kvm")["enabled"] is False
    with socket.socket(socket.AF_UNIX) as viewer:
        viewer.settimeout(30)
        viewer.connect(str(folder / "vnc.sock"))
        assert viewer.recv(12) == b"RFB 003.008\n"
    # One console, the graphics card's: no text console for whoever presses Ctrl-Alt-2 on VNC.
    consoles = [one["name"] for one in qmp.ask("qom-list", path="/backend") if one["name"].startswith("console")]
    assert consoles == ["console[0]"]
    disks = {one["device"]: one["inserted"] for one in qmp.ask("query-block") if one.get("inserted")}
    assert disks["MacHDD"]["file"] == str(folder / "mac_hdd_ng.img")
    assert disks["MacHDD"]["cache"] == {"no-flush": False, "direct": False, "writeback": True}
    assert disks["MacHDD"]["detect_zeroes"] == "unmap"
    assert {"OpenCoreBoot", "InstallMedia"} <= set(disks)
    assert all(disks[name]["backing_file_depth"] == 1 for name in ("OpenCoreBoot", "InstallMedia")), "writes discarded"
    forwards = qmp.ask("human-monitor-command", **{"command-line": "info usernet"})
    assert f"127.0.0.1 {ssh_port(folder)}" in " ".join(forwards.split())
    assert placement().mac in qmp.ask("human-monitor-command", **{"command-line": "info network"})


def check_throwaway(qmp: Qmp, folder: Path) -> None:
    """Every drive that can be written to writes to a file that is gone already; one data disk a bus is there."""
    disks = {one["device"]: one["inserted"] for one in qmp.ask("query-block") if one.get("inserted")}
    written = {name: written_to(one["file"]) for name, one in disks.items() if not one["ro"]}
    assert {"MacHDD", "own-data0", "own-data3", "pflash1"} <= set(written)
    for name, path in written.items():
        assert path.parent == folder and not path.exists(), name
    plugs = {one["device"]: one.get("qdev", "") for one in qmp.ask("query-block")}
    assert "virtio" not in plugs["own-data0"] and "virtio-backend" in plugs["own-data3"]


def written_to(told: str) -> Path:
    """The file, which QEMU names plainly or inside a JSON text."""
    return Path(json.loads(told[5:])["file"]["filename"] if told.startswith("json:") else told)


def digests(folder: Path) -> dict[str, tuple[str, int]]:
    kept = [folder / "nvram.fd", *folder.glob("*.img"), *folder.glob("*.qcow2")]
    return {p.name: (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in kept}


def test_qemu_takes_data_disks_and_throws_all_writes_away(folder: Path) -> None:
    upstream, line = upstream_in(folder), upstream_line("code_4m")
    files = upstream_files(line, str(upstream))
    choice = find_pair(Path(files.firmware_code), Path(files.firmware_variables))
    prepare_nvram(choice, folder / "nvram.fd")
    data = [folder / f"disk-{n}.qcow2" for n in range(4)]
    for disk in data:
        run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"])
    place = placement(
        str(folder),
        upstream=str(upstream),
        firmware_code=str(choice.pair.code),
        ssh_port=ssh_port(folder),
        data_disks=tuple(map(str, data)),
        choice=BootChoice(throwaway=True),
    )
    before = digests(folder)
    finished = apply_rules(line, spec(memory=512 << 20), TCG, place).command_line
    log = folder / "qemu.log"
    with started(finished.argv, folder) as child:
        qmp = connect(child, folder / "qmp.sock", log)
        try:
            check_throwaway(qmp, folder)
            for name in ("MacHDD", "own-data0", "pflash1"):
                qmp.ask("human-monitor-command", **{"command-line": f'qemu-io {name} "write -P 7 0 256k"'})
            qmp.ask("quit")
        finally:
            qmp.close()
        stop = time.monotonic() + patient(30)
        while child.exit_status() is None and time.monotonic() < stop:
            time.sleep(0.02)
    assert log.read_text().count("wrote 262144/262144") == 3
    assert len(before) == 7 and digests(folder) == before


def ssh_port(folder: Path) -> int:
    """A port of the test's own, the same for the time of the test."""
    kept = folder / "port"
    if not kept.exists():
        kept.write_text(str(free_port()))
    return int(kept.read_text())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_qemu_takes_the_finished_line(layout: str, folder: Path) -> None:
    upstream, line = upstream_in(folder), upstream_line(layout)
    files = upstream_files(line, str(upstream))
    choice = find_pair(Path(files.firmware_code), Path(files.firmware_variables))
    prepare_nvram(choice, folder / "nvram.fd")
    place = placement(
        str(folder),
        upstream=str(upstream),
        firmware_code=str(choice.pair.code),
        firmware_reason=choice.reason,
        installer=str(folder / "BaseSystem.img"),
        ssh_port=ssh_port(folder),
    )
    finished = apply_rules(line, spec(memory=512 << 20), TCG, place).command_line
    log = folder / "qemu.log"
    with started(finished.argv, folder) as child:
        qmp = connect(child, folder / "qmp.sock", log)
        watch = connect(child, folder / "qmp-watch.sock", log)
        try:
            check_machine(qmp, folder)
            assert holder(folder / "qemu.pid") == child.pid
            assert Path(f"/proc/{child.pid}/comm").read_text() == "vm:sonoma\n"
            assert (folder / "serial.log").exists()
            qmp.ask("quit")
        finally:
            qmp.close()
            watch.close()
        stop = time.monotonic() + patient(30)
        while (status := child.exit_status()) is None and time.monotonic() < stop:
            time.sleep(0.02)
    assert status == 0, log.read_text()
    assert "audiodev" not in log.read_text(), "no complaint about sound"
