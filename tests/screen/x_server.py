"""A real X server for a test, and a client that draws on it and knows what is to be seen."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from Xlib import X, display
from Xlib.xobject.drawable import Window

from pommel.screen.geometry import Rect, Size
from pommel.screen.sources.x11_link import connected


@dataclass
class XServer:
    name: str
    pid: int

    def run(self, *argv: str) -> str:
        env = {**os.environ, "DISPLAY": self.name}
        return subprocess.run(argv, env=env, check=True, capture_output=True, text=True, timeout=30).stdout

    def kill(self, how: int = signal.SIGKILL) -> None:
        os.kill(self.pid, how)


@contextlib.contextmanager
def vnc_server(path: Path, size: Size) -> Iterator[XServer]:
    """TigerVNC's X server, which speaks RFB on the Unix socket `path`."""
    options = ("-rfbport=-1", f"-rfbunixpath={path}", "-SecurityTypes=None", "-depth", "24", "-noreset")
    with _started("Xvnc", "-geometry", f"{size.width}x{size.height}", "-nolisten", "tcp", *options) as server:
        yield server


@contextlib.contextmanager
def x_server(*options: str, screen: str = "320x240x24") -> Iterator[XServer]:
    """An Xvfb of its own."""
    with _started("Xvfb", "-screen", "0", screen, "-nolisten", "tcp", "-noreset", *options) as server:
        yield server


@contextlib.contextmanager
def _started(program: str, *options: str) -> Iterator[XServer]:
    read, write = os.pipe()
    argv = [program, "-displayfd", str(write), *options]
    child = subprocess.Popen(
        argv, pass_fds=[write], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    os.close(write)
    try:
        with os.fdopen(read) as told:
            yield XServer(f":{told.readline().strip()}", child.pid)
    finally:
        child.kill()
        child.wait()


def authority(path: Path) -> Path:
    """A file with a cookie for any display of this host, as a server's `-auth` and XAUTHORITY take it (libXau)."""
    fields = (socket.gethostname().encode(), b"", b"MIT-MAGIC-COOKIE-1", bytes(range(16)))
    path.write_bytes(b"\1\0" + b"".join(len(one).to_bytes(2, "big") + one for one in fields))
    return path


class Painter:
    """A client of the X server."""

    def __init__(self, name: str) -> None:
        self.display: display.Display = connected(name)
        self.root = self.display.screen().root
        self.gc = self.root.create_gc(subwindow_mode=X.IncludeInferiors)
        self.windows: list[Window] = []

    def fill(self, rect: Rect, colour: int) -> None:
        self.gc.change(foreground=colour)
        self.root.fill_rectangle(self.gc, *rect)

    def copy(self, source: Rect, x: int, y: int) -> None:
        self.root.copy_area(self.gc, self.root, *source, x, y)

    def open(self, rect: Rect, colour: int, *, events: int = 0) -> Window:
        x, y, width, height = rect
        window = self.root.create_window(
            x, y, max(width, 1), max(height, 1), 0, X.CopyFromParent,
            background_pixel=colour, override_redirect=True, event_mask=events,
        )  # fmt: skip
        window.map()
        self.windows.append(window)
        return window

    def truth(self) -> np.ndarray:
        """What the root window shows, (height, width, 3), blue first."""
        size = self.root.get_geometry()
        image = self.root.get_image(0, 0, size.width, size.height, X.ZPixmap, 0xFFFFFFFF)
        return np.frombuffer(image.data, np.uint8).reshape(size.height, size.width, 4)[:, :, :3]


@contextlib.contextmanager
def painter(server: XServer) -> Iterator[Painter]:
    one = Painter(server.name)
    try:
        yield one
    finally:
        one.display.display.socket.close()  # not close(): the library waits for ever once it had an error
