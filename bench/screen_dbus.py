"""QEMU's screen over RFB on a Unix socket beside its peer-to-peer D-Bus display, in one run.

    python bench/screen_dbus.py [ROUNDS]

Two QEMUs under TCG, one with `-vnc`, one with `-display dbus,p2p=yes`, run the same boot sector at 1920×1080; the readers
take turns. *Key*: from sending a key until the pixels that it changes are in hand. *Film*, *block*: the guest paints the
whole picture, or 64×64 of it, 48 times a second. *Idle*: a watched screen on which nothing happens. *Stall*: the reader
does not read for a second of film. CPU is QEMU's without its guest's thread, and the reader's: this process.

`RFB, bare` and `D-Bus, bare` receive into a frame and no more. `RFB, Pommel` is `VncSource`: it also compares with the frame
that is shown, and keeps QEMU attentive. `D-Bus` compares likewise; `nudged` also sends what keeps the VNC server attentive.
Three rounds take under three minutes. It wants ui-dbus.so (Debian: in qemu-system-common) and the extra `bench`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from qemu_dbus import Console

from pommel.screen import rfb
from pommel.screen import rfb_requests as ask
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, total_area, whole
from pommel.screen.rfb_link import open_link
from pommel.screen.seams import Update
from pommel.screen.sources.vnc import AFTER_INPUT_NUDGE_S, connect_vnc
from pommel.screen.tiles import take_over, touched

SIZE, KEYS, SPELL_S, STALL_S = Size(1920, 1080), 16, 2.0, 1.0
KEY_A, KEY_F5, KEY_F6, KEY_F24 = 0x1E, 0x3F, 0x40, 0x76  # QEMU's numbers

# Linear frame buffer by the Bochs registers. A key paints 64×64 pixels at the top left anew, F5 the whole picture at each
# tick of 48.5 Hz until a key, F6 those 64×64 likewise. In `as` syntax, shortened: (BAR 0 of 00:02.0 to %ebp; to port 0x1ce:
# 4,0 1,1920 2,1080 3,32 4,0x41) key: mov $0,%ah; int $0x16; cmp $0x3f,%ah; je film; cmp $0x40,%ah; je film; call block;
# jmp key; film: mov %ah,kind; (PIT to 0x6000) frame: hlt; mov $1,%ah; int $0x16; jnz stop; push $frame; cmpb $0x3f,kind;
# jne block; call paint; mov $1920*1080,%ecx; addr32 rep stosl; sti; ret; block: call paint; (64 rows of 64); sti; ret
# stop: mov $0,%ah; int $0x16; (PIT to 0); jmp key; paint: cli; (%es to all 4 GB, by a moment in protected mode);
# add $0x214365,%esi; mov %esi,%eax; mov %ebp,%edi; cld; ret
BOOT = bytes.fromhex(
    "31c08ed88ed0bc007c66b810100080baf80c66efb2fc66ed24f06689c5bed37cbace01adef42adef4a81fee77c72f466"
    "31f6b400cd1680fc3f740a80fc407405e82c00ebed8826cc7cbb0060e84700f4b401cd167535684f7c803ecc7c3f750f"
    "e8400066b900a41f006766f3abfbc3e83100ba400066b9400000006766f3ab6681c7001d00004a75ecfbc3b400cd1631"
    "dbe80200eb9cb036e64388d8e64088f8e640c3fa0f0116cd7c0f20c0400f22c0bb08008ec3480f22c031db8ec36681c6"
    "654321006689f06689effcc3000f00e87c00000400000001008007020038040300200004004100900000000000000000"
    "ffff00000092cf00"
)


class Qemu:
    """One that runs."""

    def __init__(self, folder: Path, *display: str) -> None:
        self.vnc, self.qmp = folder / "vnc.sock", folder / "qmp.sock"
        (folder / "boot").write_bytes(BOOT.ljust(510, b"\0") + b"\x55\xaa")
        words = ["qemu-system-x86_64", "-accel", "tcg", "-m", "16", "-nodefaults", "-vga", "std", "-boot", "a"]
        words += ["-drive", f"file={folder}/boot,format=raw,if=floppy,snapshot=on", "-name", "bench,debug-threads=on"]
        words += ["-qmp", f"unix:{self.qmp},server=on,wait=off", *display]
        self.process = subprocess.Popen(words, cwd=folder)
        while not self.qmp.exists():
            if self.process.poll() is not None:
                raise RuntimeError("QEMU did not start")
            time.sleep(0.02)

    def cpu_s(self) -> float:
        """Processor time of all threads but the guest's."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        ours = (task for task in tasks if not (task / "comm").read_text().startswith("CPU "))
        return sum(int((task / "schedstat").read_text().split()[0]) for task in ours) / 1e9

    def memory(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def qemu(*display: str) -> Iterator[Qemu]:
    folder = Path(tempfile.mkdtemp(prefix="pm-"))
    machine = Qemu(folder, *display)
    try:
        yield machine
    finally:
        machine.process.kill()
        machine.process.wait()
        shutil.rmtree(folder)


@dataclass
class Reader:
    """One that looks on: where its picture is, how it presses a key, what came."""

    frame: Callable[[], Frame]
    key: Callable[[int, bool], None]
    transport: Callable[[], asyncio.Transport | None]
    arrivals: list[float] = field(default_factory=list)
    moved: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def came(self, area: int) -> None:
        self.arrivals.append(time.perf_counter())
        self.moved += area * 4
        self.news.set()

    def pixel(self) -> bytes:
        return bytes(self.frame().pixels[0, 0, :3])

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                self.news.clear()
                await self.news.wait()


@contextlib.asynccontextmanager
async def rfb_bare(machine: Qemu) -> AsyncIterator[Reader]:
    link = await open_link(machine.vnc, timeout_s=5)
    key = functools.partial(press, link.write)
    reader = Reader(lambda: link.client.frame, key, lambda: link._transport)

    def heard(event: rfb.Event) -> None:
        if isinstance(event, rfb.Updated | rfb.Resized):
            reader.came(total_area(event.damage) if isinstance(event, rfb.Updated) else 0)
            everything = whole(link.client.frame.size)
            link.write(ask.update_request(everything, incremental=isinstance(event, rfb.Updated)))

    link.on_event = heard
    link.write(ask.update_request(whole(link.client.frame.size), incremental=False))
    yield reader
    await link.close()


@contextlib.asynccontextmanager
async def rfb_pommel(machine: Qemu) -> AsyncIterator[Reader]:
    connection = await connect_vnc(machine.vnc)
    source, link, shown = connection.source, connection.source._link, [Frame.blank(Size(1, 1))]
    reader = Reader(lambda: shown[0], functools.partial(press, link.write_input), lambda: link._transport)

    async def read() -> None:
        while isinstance(update := await source.next_update(), Update):
            shown[0] = update.frame
            reader.came(total_area(update.damage))

    source.watch(True)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read())
        yield reader
        reading.cancel()
    await connection.close()


def press(write: Callable[[bytes], None], qnum: int, down: bool) -> None:
    write(ask.qemu_key_event(qnum, 0, down))


@contextlib.asynccontextmanager
async def dbus(machine: Qemu, *, compared: bool = True, nudged: bool = False) -> AsyncIterator[Reader]:
    console, shown = Console(machine.qmp), Frame.blank(SIZE)

    def came(rect: Rect) -> None:
        if compared and listener.frame.size == SIZE:
            take_over(shown, listener.frame, touched(SIZE, [rect]))
        reader.came(rect.area)

    async def nudge() -> None:
        while nudged:
            console.key(KEY_F24, False)
            await asyncio.sleep(AFTER_INPUT_NUDGE_S)

    listener = await console.listen(came)
    reader = Reader(lambda: listener.frame, console.key, lambda: listener.transport)
    async with asyncio.TaskGroup() as tasks:
        nudging = tasks.create_task(nudge())
        yield reader
        nudging.cancel()
    await console.close(listener)


Figures = defaultdict[str, list[float]]


async def keys(reader: Reader, figures: Figures) -> None:
    for _ in range(KEYS):
        before, begun = reader.pixel(), time.perf_counter()
        reader.key(KEY_A, True)
        await reader.until(lambda before=before: reader.pixel() != before)  # type: ignore[misc]
        figures["key → changed pixels, ms"].append((time.perf_counter() - begun) * 1000)
        reader.key(KEY_A, False)
        await asyncio.sleep(random.uniform(0.1, 0.4))


async def idle(reader: Reader, machine: Qemu, figures: Figures) -> None:
    await asyncio.sleep(0.5)
    of_qemu, of_reader = machine.cpu_s(), time.process_time()
    await asyncio.sleep(SPELL_S)
    figures["idle: QEMU, % of a core"].append((machine.cpu_s() - of_qemu) / SPELL_S * 100)
    figures["idle: reader, % of a core"].append((time.process_time() - of_reader) / SPELL_S * 100)


@contextlib.asynccontextmanager
async def playing(reader: Reader, qnum: int) -> AsyncIterator[None]:
    reader.key(qnum, True)
    reader.key(qnum, False)
    await asyncio.sleep(0.5)
    yield
    reader.key(KEY_A, True)
    reader.key(KEY_A, False)
    await asyncio.sleep(0.2)


async def watch(reader: Reader, machine: Qemu, figures: Figures, scene: str, qnum: int) -> None:
    async with playing(reader, qnum):
        first, moved, begun = len(reader.arrivals), reader.moved, time.perf_counter()
        of_qemu, of_reader = machine.cpu_s(), time.process_time()
        await asyncio.sleep(SPELL_S)
        arrivals, took = reader.arrivals[first:], time.perf_counter() - begun
        figures[f"{scene}: QEMU, ms of CPU per update"].append((machine.cpu_s() - of_qemu) * 1000 / len(arrivals))
        figures[f"{scene}: reader, ms of CPU per update"].append(
            (time.process_time() - of_reader) * 1000 / len(arrivals)
        )
        figures[f"{scene}: MB/s"].append((reader.moved - moved) / took / 1e6)
    figures[f"{scene}: updates a second"].append(len(arrivals) / took)
    figures[f"{scene}: gap, ms"] += [(later - earlier) * 1000 for earlier, later in itertools.pairwise(arrivals)]


async def stall(reader: Reader, machine: Qemu, figures: Figures) -> None:
    transport = reader.transport()
    async with playing(reader, KEY_F5):
        if transport is not None:
            transport.pause_reading()
            before = machine.memory()
            await asyncio.sleep(STALL_S)
            figures["stall: QEMU grows, MB/s"].append((machine.memory() - before) / STALL_S / 1e6)
            transport.resume_reading()
            await asyncio.sleep(STALL_S)


async def measure(reader: Reader, machine: Qemu, cases: str, figures: Figures) -> None:
    await reader.until(lambda: reader.frame().size == SIZE)
    if "idle" in cases:
        await idle(reader, machine, figures)
    if "keys" in cases:
        await keys(reader, figures)
    if "scenes" in cases:
        await watch(reader, machine, figures, "film", KEY_F5)
        await watch(reader, machine, figures, "block", KEY_F6)
    if "stall" in cases:
        await stall(reader, machine, figures)


async def main(rounds: int) -> None:
    table: defaultdict[str, Figures] = defaultdict(lambda: defaultdict(list))
    with qemu("-display", "none", "-vnc", "unix:vnc.sock") as vnc, qemu("-display", "dbus,p2p=yes") as p2p:
        readers: tuple[tuple[str, Qemu, Callable[[Qemu], contextlib.AbstractAsyncContextManager[Reader]], str], ...] = (
            ("RFB, bare", vnc, rfb_bare, "idle keys scenes stall"),
            ("RFB, Pommel", vnc, rfb_pommel, "idle keys scenes"),
            ("D-Bus", p2p, dbus, "idle keys scenes"),
            ("D-Bus, bare", p2p, functools.partial(dbus, compared=False), "scenes stall"),
            ("D-Bus, nudged", p2p, functools.partial(dbus, nudged=True), "keys"),
        )
        for _, (name, machine, opened, cases) in itertools.product(range(rounds), readers):
            async with opened(machine) as reader:
                await measure(reader, machine, cases, table[name])
    show(table, rounds)


def show(table: dict[str, Figures], rounds: int) -> None:
    print(f"medians of {rounds} rounds, {rounds * KEYS} keys each, in brackets p95; load {os.getloadavg()[0]:.2f}")
    print("| | " + " | ".join(table) + " |\n|---|" + "---|" * len(table))
    for what in next(iter(table.values())):
        cells = (cell(figures[what]) for figures in table.values())
        print(f"| {what} | " + " | ".join(cells) + " |")


def cell(values: list[float]) -> str:
    if not values:
        return ""
    tail = f" ({quantiles(values, n=20)[-1]:.3g})" if len(values) >= KEYS else ""
    return f"{median(values):.3g}{tail}"


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
