"""Reads the size of a VNC server's picture, and asks for another size. Band: shell."""

from __future__ import annotations

from pathlib import Path

from pommel.screen import rfb_requests as ask
from pommel.screen.geometry import Size
from pommel.screen.rfb_link import open_link


async def size_of(path: Path, timeout_s: float) -> Size:
    """The present size of the picture of a VNC server on a Unix socket.

    Raises:
        StateError: nothing listens there.
        DeadlineError: it did not answer.
        RfbError: the server cannot be used.
    """
    link = await open_link(path, timeout_s=timeout_s)
    size = link.client.frame.size
    await link.close()
    return size


async def ask_for(path: Path, size: Size, timeout_s: float) -> None:
    """Ask the server for a picture of this size. QEMU asks the guest, whose driver may not support it.

    Raises: as `size_of`.
    """
    link = await open_link(path, timeout_s=timeout_s)
    link.write(ask.set_desktop_size(*size))
    await link.drain()
    await link.close()
