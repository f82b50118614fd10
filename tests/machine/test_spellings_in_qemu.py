"""Firmware and disks in every spelling that boot scripts have, through the rules and into the real QEMU."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isolation import patient
from pommel.machine import disk, passphrase
from pommel.machine.boot_choices import ORDINARY, BootChoice
from pommel.machine.commandline import CommandLine
from pommel.machine.disk_contents import facts_of
from pommel.machine.firmware import choose, prepare_nvram
from pommel.machine.passphrase import Passphrase
from pommel.machine.rules import apply_rules
from pommel.machine.upstream_files import files_in, upstream_files
from pommel.process import run

from .given import TCG, placement, spec
from .test_argv_in_qemu import connect, ssh_port, started, upstream_in
from .test_argv_in_qemu import folder as folder

BASE = (
    "-machine", "q35", "-m", "256", "-nodefaults", "-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0",
)  # fmt: skip
PAIR = (
    "-drive", "if=pflash,format=raw,readonly=on,file=OVMF_CODE.fd",
    "-drive", "if=pflash,format=raw,file=OVMF_VARS-1920x1080.fd",
)  # fmt: skip
LEAF = '"file":{"driver":"file","filename":"mac_hdd_ng.img","locking":"auto"}'
DISKS: dict[str, tuple[str, ...]] = {
    "hda": ("-hda", "mac_hdd_ng.img"),
    "hdb and a CD": ("-hdb", "mac_hdd_ng.img", "-cdrom", "os.iso"),
    "drive alone": ("-drive", "file=mac_hdd_ng.img"),
    "virtio": ("-drive", "file=mac_hdd_ng.img,if=virtio,format=qcow2"),
    "ide by index": ("-drive", "file=mac_hdd_ng.img,if=ide,index=1,media=disk,format=qcow2,snapshot=on"),
    "no discard": ("-drive", "file=mac_hdd_ng.img,if=virtio,format=qcow2,discard=ignore"),
    "nvme": ("-drive", "file=mac_hdd_ng.img,if=none,id=d", "-device", "nvme,drive=d,serial=1"),
    "usb": ("-device", "qemu-xhci", "-drive", "file=mac_hdd_ng.img,if=none,id=d", "-device", "usb-storage,drive=d"),
    "scsi": ("-device", "virtio-scsi-pci", "-drive", "file=mac_hdd_ng.img,if=none,id=d", "-device", "scsi-hd,drive=d"),
    "drive in nodes": (
        "-drive", "driver=qcow2,file.driver=file,file.filename=mac_hdd_ng.img,if=none,id=d,file.locking=auto",
        "-device", "ide-hd,drive=d",
    ),
    "blockdev": (
        "-blockdev", "driver=qcow2,node-name=d,file.driver=file,file.filename=mac_hdd_ng.img",
        "-device", "ide-hd,drive=d",
    ),
    "blockdev with its driver first": (
        "-blockdev", "qcow2,node-name=d,file.driver=file,file.filename=mac_hdd_ng.img,discard=unmap",
        "-device", "virtio-blk-pci,drive=d",
    ),
    "blockdev in JSON": (
        "-blockdev", f'{{"driver":"qcow2","node-name":"d","cache":{{"direct":false}},{LEAF}}}',
        "-device", '{"driver":"ide-hd","drive":"d"}',
    ),
    "blockdev chain": (
        "-blockdev", "driver=file,node-name=f,filename=mac_hdd_ng.img",
        "-blockdev", "driver=qcow2,file=f,node-name=d",
        "-device", "ide-hd,drive=d",
    ),
    "blockdev chain with a filter": (
        "-object", "throttle-group,id=t",
        "-blockdev", "driver=file,node-name=f,filename=mac_hdd_ng.img",
        "-blockdev", "driver=raw,file=f,node-name=r",
        "-blockdev", "driver=throttle,throttle-group=t,file=r,node-name=d",
        "-device", "ide-hd,drive=d",
    ),
    "blockdev without a format": (
        "-blockdev", "driver=file,node-name=d,filename=mac_hdd_ng.img", "-device", "ide-hd,drive=d",
    ),
}  # fmt: skip
FIRMWARE: dict[str, tuple[str, ...]] = {
    "none": (),
    "bios": ("-bios", "bios-256k.bin"),
    "two writable": tuple(word.replace("readonly=on,", "") for word in PAIR),
    "pflash": ("-pflash", "OVMF_CODE.fd", "-pflash", "OVMF_VARS-1920x1080.fd"),
    "one image": ("-drive", "if=pflash,format=raw,file=OVMF_WHOLE.fd"),
    "nodes": (
        "-blockdev", "driver=file,node-name=c,filename=OVMF_CODE.fd,read-only=on",
        "-blockdev", '{"driver":"raw","node-name":"v","file":{"driver":"file","filename":"OVMF_VARS-1920x1080.fd"}}',
        "-machine", "pflash0=c,pflash1=v",
    ),
    "drives by name": (
        "-drive", "if=none,id=c,format=raw,file=OVMF_CODE.fd,readonly=on",
        "-drive", "if=none,id=v,format=raw,file=OVMF_VARS-1920x1080.fd",
        "-machine", "pflash0=c,pflash1=v",
    ),
}  # fmt: skip


def finished(folder: Path, words: tuple[str, ...], choice: BootChoice = ORDINARY, **placed: Any) -> tuple[str, ...]:
    """The machine's argv for a boot script with these words, and what it needs on the disk."""
    upstream = upstream_in(folder)
    (upstream / "OVMF_WHOLE.fd").write_bytes(
        (upstream / "OVMF_VARS-1920x1080.fd").read_bytes() + (upstream / "OVMF_CODE.fd").read_bytes()
    )
    run(["qemu-img", "create", "-q", "-f", "qcow2", upstream / "mac_hdd_ng.img", "1G"])
    (upstream / "os.iso").write_bytes(bytes(1 << 20))
    line = CommandLine.parse("qemu-system-x86_64", (*BASE, *words))
    facts = {path: facts_of(path, form) for path, form in files_in(line, str(upstream)).items()}
    files = upstream_files(line, str(upstream), facts)
    chosen = choose(files.firmware_code, files.firmware_variables, files.bios)
    prepare_nvram(chosen, folder / "nvram.fd")
    place = placement(
        str(folder),
        upstream=str(upstream),
        firmware_code=files.firmware_code,
        ssh_port=ssh_port(folder),
        facts=facts,
        choice=choice,
        **placed,
    )
    return (*apply_rules(line, spec(), TCG, place).command_line.argv, "-S")


def opened(argv: tuple[str, ...], folder: Path, secret: bytes | None = None) -> Iterator[dict[str, Any]]:
    """QEMU's nodes."""
    log = folder / "qemu.log"
    with started(argv, folder, secret) as child:
        qmp = connect(child, folder / "qmp.sock", log)
        try:
            yield from qmp.ask("query-named-block-nodes")
            yield from ({"device": one} for one in qmp.ask("query-block"))
            qmp.ask("quit")
        finally:
            qmp.close()
        stop = time.monotonic() + patient(30)
        while child.exit_status() is None and time.monotonic() < stop:
            time.sleep(0.02)
    assert "error" not in log.read_text().lower(), log.read_text()


def files_of(nodes: list[dict[str, Any]]) -> dict[str, bool]:
    """Every file that QEMU has open, and whether it may write to it."""
    lowest = [node for node in nodes if node.get("drv") == "file"]
    return {Path(node["file"]).name: not node["ro"] for node in lowest}


# Every spelling of the disk, and each of the firmware's with some of them.
BOTH = list(zip(DISKS, itertools.cycle(FIRMWARE), strict=False))
HARD = ("hda", "drive in nodes", "blockdev in JSON", "blockdev chain with a filter", "blockdev without a format")


@pytest.mark.parametrize(("disk", "firmware"), BOTH)
def test_every_spelling(disk: str, firmware: str, folder: Path) -> None:
    nodes = list(opened(finished(folder, (*FIRMWARE[firmware], *DISKS[disk])), folder))
    found = files_of(nodes)
    assert found.pop("mac_hdd_ng.img") is True
    chips = {"OVMF_CODE.fd": False, "nvram.fd": True}
    chips = {"none": {}, "bios": {}, "one image": {"nvram.fd": True}}.get(firmware, chips)
    assert found == chips | ({"os.iso": False} if "CD" in disk else {})
    own = [node for node in nodes if "mac_hdd_ng.img" in str(node.get("file"))]
    assert "qcow2" in [node["drv"] for node in own]
    assert all(str(folder / "up") not in str(node["file"]) for node in own), "the machine's, not the upstream's"
    assert ("unmap" in [node["detect_zeroes"] for node in own]) == (disk != "no discard")


@pytest.mark.parametrize("disk", HARD)
def test_throwaway_discards_in_every_spelling(disk: str, folder: Path) -> None:
    argv = finished(folder, (*FIRMWARE["nodes"], *DISKS[disk]), BootChoice(throwaway=True))
    found = files_of(list(opened(argv, folder)))
    written = {name for name, writable in found.items() if writable}
    assert {"mac_hdd_ng.img", "nvram.fd", "OVMF_CODE.fd"} == found.keys() - written
    assert len(written) == 2, "a file that is gone already for each"


@pytest.fixture(scope="module")
def sealed_disks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two encrypted disks to copy: QEMU times its hashing for two seconds when it makes one."""
    made = [tmp_path_factory.mktemp("sealed") / name for name in ("mac_hdd_ng.img", "disk-b.qcow2")]
    with passphrase.with_key(lambda: Passphrase(b"open, sesame", "the test", "", 10)):
        for path in made:
            disk.create(path, 64 << 20, encrypted=True)
    return made


@pytest.mark.parametrize("spelled", [*HARD, "blockdev chain", "virtio"])
def test_an_encrypted_disk_in_every_spelling(spelled: str, folder: Path, sealed_disks: list[Path]) -> None:
    argv = finished(
        folder, (*FIRMWARE["none"], *DISKS[spelled]), encrypted=True, data_disks=(f"{folder}/disk-b.qcow2",)
    )
    for path in sealed_disks:
        (folder / path.name).unlink(missing_ok=True)  # it may be a link
        shutil.copyfile(path, folder / path.name)
    nodes = list(opened(argv, folder, b"open, sesame"))
    assert files_of(nodes) == {"mac_hdd_ng.img": True, "disk-b.qcow2": True}
    sealed = {Path(n["image"]["filename"]).name for n in nodes if n.get("drv") == "qcow2" and n["encrypted"]}
    assert len(sealed) == 2
    assert not any("sesame" in word for word in argv)


def test_json_keeps_its_other_keys(folder: Path) -> None:
    argv = finished(folder, (*PAIR, *DISKS["blockdev in JSON"]))
    value = json.loads(argv[argv.index("-blockdev") + 1])
    assert value["cache"] == {"direct": False} and value["file"]["locking"] == "auto"
    assert json.loads(next(word for word in argv if '"ide-hd"' in word)) == {
        "driver": "ide-hd", "drive": "d", "rotation_rate": 1,
    }  # fmt: skip
