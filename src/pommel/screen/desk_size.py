"""How large the picture of a VNC server is, and asking for another size. Band: shell."""

from __future__ import annotations

from pathlib import Path

from pommel.screen import rfb_requests as ask
from pommel.screen.geometry import Size
from pommel.screen.rfb_link import open_link


async def size_of(path: Path, timeout_s: float) -> Size:
    """The size of the picture that the server on a Unix socket has now.

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
    """Ask the server for a picture of this size. QEMU tells the guest, whose driver does it, or does not.

    Raises: as `size_of`.
    """
    link = await open_link(path, timeout_s=timeout_s)
    link.write(ask.set_desktop_size(*size))
    await link.drain()
    await link.close()
