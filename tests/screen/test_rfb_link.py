from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from isolation import patient
from pommel.errors import RfbError
from pommel.screen import rfb_requests as ask
from pommel.screen.geometry import Rect
from pommel.screen.rfb import Bell, Event
from pommel.screen.rfb_link import open_link

from . import rfb_bytes as says


async def test_events_come_in_order_and_pixels_land_in_the_frame(tmp_path: Path) -> None:
    data = bytes(range(256)) * 512  # larger than any buffer on the way

    async def script(reader, writer) -> None:
        await says.greet(reader, writer, 256, 128)
        await reader.readexactly(10)
        writer.write(says.BELL + says.update(says.raw(0, 0, 256, 128, data)) + says.BELL)
        await reader.read()

    heard: list[Event] = []
    async with says.serving(tmp_path / "s", script):
        link = await open_link(tmp_path / "s", timeout_s=5)
        link.on_event = heard.append
        link.write(ask.update_request(Rect(0, 0, 256, 128), incremental=False))
        async with asyncio.timeout(patient(5)):
            while len(heard) < 3:
                await asyncio.sleep(0.001)
        await link.close()
    assert isinstance(heard[0], Bell) and isinstance(heard[2], Bell)
    assert link.client.frame.pixels.tobytes() == data


async def test_closing_lets_what_was_written_out_and_the_server_hang_up_first(tmp_path: Path) -> None:
    story: list[str] = []

    async def script(reader, writer) -> None:
        await says.greet(reader, writer, 4, 4)
        assert len(await reader.read()) == 8 * 1000
        await asyncio.sleep(0.02)
        story.append("server saw the end")

    async with says.serving(tmp_path / "s", script):
        link = await open_link(tmp_path / "s", timeout_s=5)
        for _ in range(1000):
            link.write(ask.key_event(0x61, True))
        await link.close()
        story.append("closed")
        assert story == ["server saw the end", "closed"]
        assert link.ended is not None
        await link.close()
        link.write(b"nothing happens")


async def test_a_server_that_does_not_hang_up_is_not_waited_for_long(tmp_path: Path) -> None:
    done = asyncio.Event()

    async def script(reader, writer) -> None:
        await says.greet(reader, writer, 4, 4)
        await done.wait()

    async with says.serving(tmp_path / "s", script):
        link = await open_link(tmp_path / "s", timeout_s=5)
        async with asyncio.timeout(patient(5)):
            await link.close()
        done.set()


async def test_drain_waits_for_a_server_that_does_not_read_and_ends_with_it(tmp_path: Path) -> None:
    done = asyncio.Event()

    async def script(reader, writer) -> None:
        await says.greet(reader, writer, 4, 4)
        reader._transport.pause_reading()
        await done.wait()

    async with says.serving(tmp_path / "s", script):
        link = await open_link(tmp_path / "s", timeout_s=5)
        link.write(bytes(4 << 20))
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(link.drain())
            await asyncio.sleep(0.05)
            assert not waiting.done()
            done.set()
        await link.close()


async def test_half_a_handshake_is_an_rfb_error(tmp_path: Path) -> None:
    async def script(reader, writer) -> None:
        writer.write(b"RFB 003.008\n\x01")

    async with says.serving(tmp_path / "s", script):
        with pytest.raises(RfbError, match="closed the connection"):
            await open_link(tmp_path / "s", timeout_s=5)
