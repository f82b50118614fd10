"""How long until a viewer sees something: the endpoint beside a bare RFB client on the same QEMU, in one run.

    python bench/screen_first_light.py [TRIALS]

Two figures, medians in ms. *First frame*: from connecting until a whole picture is there (for the endpoint: a viewer that
joins, JPEG encoded, in its hands). *Key*: from sending a key until changed pixels are there. The two clients take turns,
so that the machine's noise hits both. The guest is the boot sector of the tests, under TCG, in text mode.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from pommel.screen.actions import PressKey
from pommel.screen.endpoint import Endpoint
from pommel.screen.sources.vnc import VncConnection, connect_vnc
from pommel.wire import messages as wire
from pommel.wire.codec import encode
from screen.bare_qemu import BareQemu, bare_qemu

PICTURE, JUMBO = b"\x00\x03", b"\x00\x1b"


class Viewer:
    """Takes note when pictures come; says keys."""

    def __init__(self) -> None:
        self.picture = asyncio.Event()
        self.said: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def send(self, data: bytes) -> None:
        if data[:2] in (PICTURE, JUMBO):
            self.picture.set()

    async def send_text(self, text: str) -> None:
        pass

    def unsent_bytes(self) -> int:
        return 0

    async def messages(self) -> AsyncIterator[bytes]:
        while (data := await self.said.get()) is not None:
            yield data

    async def close(self, code: int, reason: str) -> None:
        self.said.put_nowait(None)


async def main(trials: int) -> None:
    with bare_qemu() as qemu:
        raw_first, first = [], []
        for _ in range(trials):
            raw_first.append(await raw_first_frame(qemu))
            first.append(await first_frame(qemu))
        raw_key, key = await keys(qemu, trials)
    print(f"{'':12}{'bare RFB':>10}{'endpoint':>10}   ms, median of {trials}")
    print(f"{'first frame':12}{median(raw_first):10.1f}{median(first):10.1f}")
    print(f"{'key':12}{median(raw_key):10.1f}{median(key):10.1f}")


async def raw_first_frame(qemu: BareQemu) -> float:
    begun = time.perf_counter()
    connection = await connect_vnc(qemu.vnc)
    await connection.source.next_update()
    took = time.perf_counter() - begun
    await connection.close()
    return took * 1000


async def first_frame(qemu: BareQemu) -> float:
    begun = time.perf_counter()
    connection, viewer = await connect_vnc(qemu.vnc), Viewer()
    endpoint = Endpoint(connection.source, connection.sink)
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(endpoint.run())
        tasks.create_task(endpoint.serve(viewer))
        await viewer.picture.wait()
        took = time.perf_counter() - begun
        viewer.said.put_nowait(None)
        run.cancel()
    await connection.close()
    return took * 1000


async def keys(qemu: BareQemu, trials: int) -> tuple[list[float], list[float]]:
    raw, served = await connect_vnc(qemu.vnc), await connect_vnc(qemu.vnc)
    endpoint, viewer = Endpoint(served.source, served.sink), Viewer()
    raw_times, times = [], []
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(endpoint.run())
        tasks.create_task(endpoint.serve(viewer))
        for trial in range(trials):
            await quiet(raw)
            raw_times.append(await raw_key(raw))
            await asyncio.sleep(0.3 + trial % 7 * 0.011)  # the cursor blinks; do not fall into step with it
            times.append(await served_key(viewer))
        viewer.said.put_nowait(None)
        run.cancel()
    await raw.close()
    await served.close()
    return raw_times, times


async def quiet(connection: VncConnection) -> None:
    """Take what is there already."""
    while True:
        try:
            await asyncio.wait_for(connection.source.next_update(), 0.12)
        except TimeoutError:
            return


async def raw_key(connection: VncConnection) -> float:
    begun = time.perf_counter()
    await connection.sink.perform(PressKey(0x41, False, True))
    await connection.source.next_update()
    took = time.perf_counter() - begun
    await connection.sink.perform(PressKey(0x41, False, False))
    return took * 1000


async def served_key(viewer: Viewer) -> float:
    viewer.picture.clear()
    begun = time.perf_counter()
    viewer.said.put_nowait(encode(wire.Key(0x41, True)))
    await viewer.picture.wait()
    took = time.perf_counter() - begun
    viewer.said.put_nowait(encode(wire.Key(0x41, False)))
    await asyncio.sleep(0.2)
    return took * 1000


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 40))
