"""Guests of a few bytes that do one thing each, on a disk of the machine's own. No tests here."""

from __future__ import annotations

import struct
from pathlib import Path

from pommel.errors import PommelError
from pommel.machine import qmp
from pommel.machine.qmp import Qmp
from pommel.paths import MachinePaths
from pommel.process import run

SEABIOS = "/usr/share/seabios/bios-256k.bin"
MIB = 1 << 20
DISK_BYTES = 8 * MIB
NVRAM = b"variables" + bytes(128 * 1024 - 9)

# Counts at 0x7e00 from what the disk's second sector holds, and writes each count there. The stack first, then
# int 13h to read, inc dword, int 13h to write, a short wait, and again.
COUNTS = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfb b80102bb007eb90200ba8000cd13"
    "66ff06007e b80103bb007eb90200ba8000cd13 66b9400d0300 664975fc ebe1"
)
SPINS = bytes.fromhex("fa ebfe")  # cli; jmp to itself
SLEEPS = bytes.fromhex("fa f4 ebfd")  # cli; hlt
# Counts in the top left corner of the text screen: cli; ds = 0xb800; inc word [0]; a short wait; again.
PAINTS = bytes.fromhex("fa b800b8 8ed8 ff060000 66b920a10700 664975fc ebf0")
# Computes all over its memory, with neither disk nor screen: cli; es = 0; 4 KiB of `inc ax` from 0x8000; jmp to them.
ROAMS = bytes.fromhex("fa 31c08ec0 bf0080 b90070 b040 fcf3aa b0e9 aa b8fd8f aa 88e0 aa ea00800000")
# Fills its disk from the first MiB on, 32 KiB at a time, by int 13h with AH=43h and an address packet at 0x7e00.
FILLS = bytes.fromhex(
    "fa31c08ed88ec08ed0bc007cfb be007e c7041000 c744024000 c744040080 c744060000 66c7440800080000 66c7440c00000000"
    "b80043b280cd13 668144084000 0000 ebef"
)


def sector(code: bytes) -> bytes:
    return code.ljust(510, b"\0") + b"\x55\xaa"


def make_disk(path: Path, code: bytes = COUNTS) -> Path:
    raw = path.with_suffix(".raw")
    raw.write_bytes(sector(code) + bytes(DISK_BYTES - 512))
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path])
    raw.unlink()
    return path


def drives(paths: MachinePaths) -> list[str]:
    """The machine's disk, and NVRAM in flash beside a BIOS in flash, as its own command line has them."""
    words = ["-drive", f"id=MacHDD,if=ide,format=qcow2,file={paths.disk}"]
    if paths.nvram.exists():
        words += ["-drive", f"if=pflash,format=raw,readonly=on,file={SEABIOS}"]
        words += ["-drive", f"if=pflash,format=raw,file={paths.nvram}"]
    return words


def ask(paths: MachinePaths, command: str, **arguments: object) -> object:
    async def work(monitor: Qmp) -> object:
        return await monitor.execute(command, arguments)

    return qmp.run(qmp.within(paths.qmp, 20, work))


def count_in_ram(paths: MachinePaths) -> int:
    """What the counting guest has counted to."""
    said = str(ask(paths, "human-monitor-command", **{"command-line": "xp /1wx 0x7e00"}))
    return int(said.split(":")[1], 16)


def count_on_disk(path: Path) -> int:
    """What the counting guest has written to the disk of a machine that is stopped."""
    raw = path.with_suffix(".count")
    run(["qemu-img", "dd", "-f", "qcow2", "-O", "raw", "bs=512", "count=2", f"if={path}", f"of={raw}"])
    (found,) = struct.unpack_from("<I", raw.read_bytes(), 512)
    raw.unlink()
    return int(found)


def set_count(path: Path, count: int) -> None:
    """Make the second sector of a stopped machine's disk say `count` in its lowest byte."""
    run(["qemu-io", "-c", f"write -P {count} 512 1", "-c", "write -P 0 513 511", path])


def is_running(paths: MachinePaths) -> bool:
    try:
        return qmp.run(qmp.query_status(paths.qmp, timeout_s=5)) == "running"
    except PommelError:
        return False
