"""A relay as MeshCentral's server is one: each message is read whole and written on. Stands in for it until we join one.

python bench/screen/relay.py WS_URL      prints the address that leads there
"""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve


async def pipe(one: ClientConnection | ServerConnection, other: ClientConnection | ServerConnection) -> None:
    async for message in one:
        await other.send(message)
    await other.close()


async def main(target: str) -> None:
    async def relay(viewer: ServerConnection) -> None:
        async with connect(target, max_size=None, compression=None) as endpoint:
            await asyncio.gather(pipe(viewer, endpoint), pipe(endpoint, viewer), return_exceptions=True)

    async with serve(relay, "127.0.0.1", 0, max_size=None, compression=None) as server:
        print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
        await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
