"""A viewer that measures, of an RFB server with Tight encoding (TigerVNC).

    python bench/screen/rfb.py HOST:PORT SCENE SECONDS FPS [--pid PID] [--quality Q] [--rate BYTES_PER_S]

It asks for JPEG of quality Q (TigerVNC's fine-grained pseudo-encoding) with halved chroma, and keeps one request open.
Reference: RFC 6143 and the community RFB protocol's Tight encoding.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import struct
import threading
import time
import zlib

import numpy as np
import simplejpeg
from figures import STRIP, Corner, play

RAW, COPY_RECT, TIGHT = 0, 1, 7
FINE_QUALITY_0, QUALITY_6, SUBSAMPLE_4X = -512, -26, -767
COMPRESS_LEVEL_2 = -254  # with less, TigerVNC does not compare, and sends what has not changed
FILL, JPEG, PALETTE = 8, 9, 1


class Viewer:
    """One viewer. `read` runs in a thread of its own."""

    def __init__(self, where: str, quality: int, rate: float) -> None:
        host, _, port = where.rpartition(":")
        self._socket = socket.socket()
        if rate:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self._socket.connect((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rate = rate
        self.bytes, self.corner = 0, Corner()
        self.whole: float | None = None
        self._streams = [zlib.decompressobj() for _ in range(4)]
        self._greet(quality)

    def _greet(self, quality: int) -> None:
        self._take(12)
        self._socket.sendall(b"RFB 003.008\n")
        self._take(self._take(1)[0])
        self._socket.sendall(b"\x01")
        self._take(4)
        self._socket.sendall(b"\x01")
        self.width, self.height = struct.unpack(">HH", self._take(4))
        self._take(16)
        self._take(struct.unpack(">I", self._take(4))[0])
        self._socket.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        wanted = (TIGHT, QUALITY_6, FINE_QUALITY_0 + quality, SUBSAMPLE_4X, COMPRESS_LEVEL_2, COPY_RECT, RAW)
        self._socket.sendall(struct.pack(">BxH7i", 2, len(wanted), *wanted))
        self._picture = np.zeros((self.height, self.width, 3), np.uint8)
        self._missing = np.ones((self.height, self.width), bool)

    def read(self) -> None:
        """Read until the server is gone."""
        with contextlib.suppress(OSError, EOFError):
            self._ask(incremental=False)
            while True:
                kind = self._take(1)[0]
                if kind == 0:
                    self._update()
                    self._ask(incremental=True)
                elif kind == 3:
                    self._take(3)
                    self._take(struct.unpack(">I", self._take(4))[0])

    def _ask(self, *, incremental: bool) -> None:
        self._socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def _take(self, count: int) -> bytes:
        taken = bytearray()
        while len(taken) < count:
            piece = self._socket.recv(min(count - len(taken), 4096 if self._rate else 1 << 20))
            if not piece:
                raise EOFError
            taken += piece
            if self._rate:
                time.sleep(len(piece) / self._rate)
        self.bytes += count
        return bytes(taken)

    def _update(self) -> None:
        self._take(1)
        marked = False
        for _ in range(struct.unpack(">H", self._take(2))[0]):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self._take(12))
            self._rect(encoding, x, y, width, height)
            marked |= y < STRIP[0] and x < STRIP[1]
            if self.whole is None:
                self._missing[y : y + height, x : x + width] = False
        if self.whole is None and not self._missing.any():
            self.whole = time.monotonic()
        if marked:
            self.corner.paint(0, 0, self._picture[: STRIP[0], : STRIP[1], 1])

    def _rect(self, encoding: int, x: int, y: int, width: int, height: int) -> None:
        target = self._picture[y : y + height, x : x + width]
        if encoding == RAW:
            target[:] = np.frombuffer(self._take(width * height * 4), np.uint8).reshape(height, width, 4)[:, :, 2::-1]
        elif encoding == COPY_RECT:
            from_x, from_y = struct.unpack(">HH", self._take(4))
            target[:] = self._picture[from_y : from_y + height, from_x : from_x + width].copy()
        elif encoding == TIGHT:
            self._tight(target, x, y)

    def _tight(self, target: np.ndarray, x: int, y: int) -> None:
        control = self._take(1)[0]
        for number, stream in enumerate(self._streams):
            self._streams[number] = zlib.decompressobj() if control >> number & 1 else stream
        kind = control >> 4
        if kind == FILL:
            target[:] = np.frombuffer(self._take(3), np.uint8)
        elif kind == JPEG:
            image = self._take(self._length())
            if y < STRIP[0] and x < STRIP[1]:
                target[:] = simplejpeg.decode_jpeg(image, "RGB")
        else:
            self._basic(target, kind)

    def _basic(self, target: np.ndarray, kind: int) -> None:
        height, width = target.shape[:2]
        palette = None
        if kind & 4 and self._take(1)[0] == PALETTE:
            colours = self._take(1)[0] + 1
            palette = np.frombuffer(self._take(3 * colours), np.uint8).reshape(colours, 3)
        if palette is None:
            target[:] = np.frombuffer(self._plain(kind, width * height * 3), np.uint8).reshape(height, width, 3)
        elif len(palette) == 2:
            packed = np.frombuffer(self._plain(kind, (width + 7) // 8 * height), np.uint8).reshape(height, -1)
            target[:] = palette[np.unpackbits(packed, axis=1)[:, :width]]
        else:
            target[:] = palette[np.frombuffer(self._plain(kind, width * height), np.uint8).reshape(height, width)]

    def _plain(self, kind: int, size: int) -> bytes:
        if size < 12:
            return self._take(size)
        return self._streams[kind & 3].decompress(self._take(self._length()))

    def _length(self) -> int:
        value = shift = 0
        for last in (False, False, True):
            byte = self._take(1)[0]
            value |= (byte if last else byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        return value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("where")
    parser.add_argument("scene")
    parser.add_argument("seconds", type=float)
    parser.add_argument("fps", type=float)
    parser.add_argument("--quality", type=int, default=50)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--pid", type=int, action="append", default=[])
    options = parser.parse_args()
    begun = time.monotonic()
    viewer = Viewer(options.where, options.quality, options.rate)
    threading.Thread(target=viewer.read, daemon=True).start()
    while viewer.whole is None and time.monotonic() < begun + 20:
        time.sleep(0.005)
    told = play(options.scene, options.seconds, options.fps, viewer.corner, lambda: viewer.bytes, options.pid)
    print(json.dumps({"first_ms": 1000 * (viewer.whole - begun) if viewer.whole else None, **told}))


if __name__ == "__main__":
    main()
