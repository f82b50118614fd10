"""Waiting for a socket that is read by other means than asyncio's own. Band: shell."""

from __future__ import annotations

import asyncio
import socket


async def readable(connection: socket.socket) -> None:
    """Wait until a non-blocking socket has something to read, its end included."""
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
