"""Waits for a socket that asyncio does not read. Band: shell."""

from __future__ import annotations

import asyncio
import socket


async def readable(connection: socket.socket) -> None:
    """Wait until a non-blocking socket can be read, or has ended."""
    loop = asyncio.get_running_loop()
    there = loop.create_future()

    def note() -> None:
        if not there.done():
            there.set_result(None)

    loop.add_reader(connection, note)
    try:
        await there
    finally:
        loop.remove_reader(connection)
