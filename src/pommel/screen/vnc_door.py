"""Admits ordinary VNC viewers to a VNC server without a password, by a port or by a private socket. Band: shell.

The server is QEMU's, on a Unix socket that only its user can open. It accepts any number of viewers, and each viewer
gets its own connection to it. On the port, a viewer needs the password, because other users of this host can connect to
it, and so can a guest, as 10.0.2.2. A wrong password is answered after two seconds, and only a few connections may be
in the handshake at once: both make guessing slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from pommel.errors import RfbError
from pommel.screen.rfb_door import CHALLENGE_SIZE, OnlyLooking, RfbDoor
from pommel.tasks import first_of

_HANDSHAKE_S = 120.0  # a person may have to type the password
_PUNISHED_S = 2.0
_STRANGERS = 8  # at once
_CHUNK = 64 << 10
_VERSION = b"RFB 003.008\n"

Told = Callable[[str], None]


class VncDoor:
    """Serve viewers of the VNC server at `server`; `told` gets a message when one connects, leaves or is refused."""

    def __init__(self, server: Path, *, view_only: bool = False, told: Told = lambda _: None) -> None:
        self.viewers = 0
        self._server = server
        self._view_only = view_only
        self._told = told
        self._strangers = 0
        self._came = 0

    async def listen(self, at: socket.socket, password: bytes | None) -> asyncio.Server:
        """Accept viewers on the listening socket `at`, and close it at the end.

        Without a password, all who can connect.
        """

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.CancelledError):  # at our end; asyncio.streams would log it as an error
                await self._serve(reader, writer, password)

        if at.family == socket.AF_UNIX:
            return await asyncio.start_unix_server(serve, sock=at)
        return await asyncio.start_server(serve, sock=at)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, password: bytes | None) -> None:
        if self._strangers >= _STRANGERS:
            writer.close()
            return
        self._came += 1
        who = f"viewer {self._came}"
        try:
            self._strangers += 1
            try:
                async with asyncio.timeout(_HANDSHAKE_S):
                    said = await self._let_in(reader, writer, password)
                    there = await self._connect()
            finally:
                self._strangers -= 1
            await self._carry(who, said, (reader, writer), there)
        except TimeoutError:
            self._told(f"{who} did not finish the handshake")
        except RfbError as wrong:
            self._told(f"{who} is refused: {wrong.message}")
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def _let_in(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, password: bytes | None
    ) -> bytes:
        door = RfbDoor(password, secrets.token_bytes(CHALLENGE_SIZE))
        while True:
            writer.write(bytes(door.out))
            door.out.clear()
            if door.is_open:
                return door.rest
            if not (data := await reader.read(_CHUNK)):
                raise EOFError
            try:
                door.receive_data(data)
            except RfbError:
                await asyncio.sleep(_PUNISHED_S)  # it uses one of the `_STRANGERS` places until then
                writer.write(bytes(door.out))
                raise

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the server for this viewer, and do the handshake up to the message that the viewer sends next."""
        reader, writer = await asyncio.open_unix_connection(str(self._server))
        try:
            await reader.readexactly(len(_VERSION))
            writer.write(_VERSION)
            if 1 not in await reader.readexactly((await reader.readexactly(1))[0]):
                raise RfbError("the machine's VNC server requires a password")
            writer.write(b"\x01")
            if any(await reader.readexactly(4)):
                raise RfbError("the machine's VNC server refuses connections")
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def _carry(
        self,
        who: str,
        said: bytes,
        viewer: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        only = OnlyLooking() if self._view_only else None
        self.viewers += 1
        self._told(f"{who} has connected (view-only)" if self._view_only else f"{who} has connected")
        first = only.receive_data(said) if only else said
        server[1].write(first)
        in_, out = _copy(viewer[0], server[1], only.receive_data if only else bytes), _copy(server[0], viewer[1], bytes)
        try:
            (await first_of(in_, out)).first.result()
        finally:
            server[1].close()
            self.viewers -= 1
            self._told(f"{who} has disconnected")


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter, through: Callable[[bytes], bytes]) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(_CHUNK):
            to.write(through(data))
            await to.drain()
