"""python-xlib, as Pommel has it, beside xcffib: the same requests to one X server, in turn. Medians, and CPU of our thread.

    pip install --no-deps xcffib==1.13.0      # a source package, which pip builds: no lock of Pommel's can have it
    python bench/x11_bindings.py [ROUNDS]

"Picture" is what `screen/sources/x11_camera.py` asks for when something was drawn: the event of DAMAGE, then the damage's
region and the pixels by MIT-SHM in one flight. "Input" is what `screen/sinks/x11.py` does. In each round both do the same
once, and take turns at who begins; a ratio is the median of the rounds' ratios, so that a busy host counts for both.
"""

from __future__ import annotations

import io
import os
import select
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xcffib
import xcffib.damage
import xcffib.shm
import xcffib.xfixes
import xcffib.xproto
import xcffib.xtest
from Xlib import X, Xatom
from Xlib.ext import damage, xfixes, xtest

from pommel.screen.geometry import Rect
from pommel.screen.sources import x11_requests as ask
from pommel.screen.sources.x11_link import connected
from pommel.screen.sources.x11_memory import SharedMemory

WIDTH, HEIGHT = 1920, 1080
WHOLE = Rect(0, 0, WIDTH, HEIGHT)
PIXELS = 128 << 10  # of one reply without MIT-SHM, as in x11_pictures
SLICE, PIECE = 256 << 10, 192 << 10  # of the clipboard: what is read and written at once
KEY_A = 38
EACH = 50  # input events of one measure
PARTS = "import numpy, Xlib.display, Xlib.ext.damage, Xlib.ext.randr, Xlib.ext.res, Xlib.ext.xfixes, Xlib.ext.xtest"
PARTS_XCB = "import numpy, xcffib.xproto, xcffib.damage, xcffib.randr, xcffib.res, xcffib.shm, xcffib.xfixes, xcffib.xkb, xcffib.xtest"
LOOK = "import resource, time; print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


class WithXlib:
    """What Pommel does today."""

    def __init__(self, name: str) -> None:
        self.display = connected(name)
        self.root = self.display.screen().root
        xfixes.query_version(self.display)
        damage.query_version(self.display)
        self.region = ask.create_region(self.display)
        self.damage = damage.damage_create(self.root, damage.DamageReportNonEmpty)
        self.number = self.display.query_extension(damage.extname).first_event
        self.memory = SharedMemory(WHOLE.area * 4)
        self.segment = self.display.display.allocate_resource_id()
        opcode = self.display.display.get_extension_major(ask.SHM)
        ask.ShmAttach(self.display.display, opcode=opcode, segment=self.segment, shm_id=self.memory.id, read_only=False)
        self.window = self.root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
        self.place = self.display.intern_atom("BENCH")
        self.display.sync()

    def wait(self) -> None:
        while True:
            while self.display.pending_events():
                if self.display.next_event().type == self.number:
                    return
            self.display.flush()
            select.select([self.display], [], [], 10)

    def picture(self, rect: Rect) -> int:
        self.wait()
        taking = ask.start_taking_damage(self.display, self.root, self.damage, self.region)
        asked = ask.start_shm_image(self.display, self.root, rect, self.segment, 0)
        found = ask.rects(taking)
        asked.reply()
        return len(found)

    def move(self) -> None:
        for number in range(EACH):
            xtest.fake_input(self.display, X.MotionNotify, 0, root=self.root, x=number, y=9)
            self.display.flush()

    def type(self) -> None:
        for _ in range(EACH // 5):
            _ = self.root.query_pointer().mask
            for down in (True, False):
                xtest.fake_input(self.display, X.KeyPress if down else X.KeyRelease, KEY_A)
            self.display.flush()

    def sent_pixels(self) -> int:
        image = self.root.get_image(0, 0, WIDTH, PIXELS // WIDTH, X.ZPixmap, ask.ALL_PLANES)
        return len(np.frombuffer(bytes(image.data), np.uint8))

    def put(self, data: bytes) -> None:
        self.window.change_property(self.place, Xatom.STRING, 8, data)
        self.display.sync()

    def get(self) -> int:
        return len(bytes(self.window.get_property(self.place, X.AnyPropertyType, 0, SLICE // 4).value))


class WithXcb:
    """The same by xcffib. What ends in `_by_hand` is laid out here, since its types make a list of each byte."""

    def __init__(self, name: str) -> None:
        self.link = link = xcffib.connect(name)
        self.core = link.core
        self.root = link.setup.roots[link.pref_screen].root
        self.fixes, self.damages = link(xcffib.xfixes.key), link(xcffib.damage.key)
        self.shm, self.test = link(xcffib.shm.key), link(xcffib.xtest.key)
        self.fixes.QueryVersion(5, 0).reply()
        self.damages.QueryVersion(1, 1).reply()
        self.region, self.damage = link.generate_id(), link.generate_id()
        self.fixes.CreateRegion(self.region, 0, [])
        self.damages.Create(self.damage, self.root, xcffib.damage.ReportLevel.NonEmpty)
        self.memory = SharedMemory(WHOLE.area * 4)
        self.segment = link.generate_id()
        self.shm.Attach(self.segment, self.memory.id, False, is_checked=True).check()
        self.window = link.generate_id()
        self.core.CreateWindow(0, self.window, self.root, 0, 0, 1, 1, 0, 0, 0, 0, [], is_checked=True).check()
        self.place = self.core.InternAtom(False, 5, "BENCH").reply().atom

    def wait(self) -> None:
        while True:
            while event := self.link.poll_for_event():
                if isinstance(event, xcffib.damage.NotifyEvent):
                    return
            self.link.flush()
            select.select([self.link.get_file_descriptor()], [], [], 10)

    def picture(self, rect: Rect) -> int:
        self.wait()
        self.damages.Subtract(self.damage, 0, self.region)
        taking = self.fixes.FetchRegion(self.region)
        asked = self.shm.GetImage(self.root, *rect, ask.ALL_PLANES, xcffib.xproto.ImageFormat.ZPixmap, self.segment, 0)
        found = [Rect(one.x, one.y, one.width, one.height) for one in taking.reply().rectangles]
        asked.reply()
        return len(found)

    def move(self) -> None:
        for number in range(EACH):
            self.test.FakeInput(6, 0, 0, self.root, number, 9, 0)
            self.link.flush()

    def type(self) -> None:
        for _ in range(EACH // 5):
            _ = self.core.QueryPointer(self.root).reply().mask
            for down in (True, False):
                self.test.FakeInput(2 if down else 3, KEY_A, 0, 0, 0, 0, 0)
            self.link.flush()

    def sent_pixels(self) -> int:
        asked = self.core.GetImage(
            xcffib.xproto.ImageFormat.ZPixmap, self.root, 0, 0, WIDTH, PIXELS // WIDTH, ask.ALL_PLANES
        )
        return len(np.frombuffer(asked.reply().data.raw, np.uint8))

    def put(self, data: bytes) -> None:
        self.core.ChangeProperty(0, self.window, self.place, Xatom.STRING, 8, len(data), data, is_checked=True).check()

    def get(self) -> int:
        asked = self.core.GetProperty(False, self.window, self.place, 0, 0, SLICE // 4)
        return len(asked.reply().value.raw)

    def sent_pixels_by_hand(self) -> int:
        size = struct.pack("=xB2xIhhHHI", 2, self.root, 0, 0, WIDTH, PIXELS // WIDTH, ask.ALL_PLANES)
        reply = self.core.send_request(73, io.BytesIO(size), RawCookie).reply()
        return len(np.frombuffer(reply.data, np.uint8))

    def put_by_hand(self, data: bytes) -> None:
        head = struct.pack("=xB2xIIIB3xI", 0, self.window, self.place, Xatom.STRING, 8, len(data))
        self.core.send_request(18, io.BytesIO(head + data), is_checked=True).check()

    def get_by_hand(self) -> int:
        head = struct.pack("=xB2xIIIII", 0, self.window, self.place, 0, 0, SLICE // 4)
        return len(self.core.send_request(20, io.BytesIO(head), RawCookie).reply().data)


class RawReply(xcffib.Reply):
    """A reply whose data stay bytes."""

    xge = False

    def __init__(self, unpacker: Any) -> None:
        super().__init__(unpacker)
        self.data = bytes(unpacker.buf[32:])


class RawCookie(xcffib.Cookie):
    reply_type = RawReply


class Drawn:
    """Where something is drawn before each picture."""

    def __init__(self, name: str, rects: list[Rect]) -> None:
        self.display = connected(name)
        self.root = self.display.screen().root
        self.gc = self.root.create_gc()
        self.rects, self.colour = rects, 0

    def __call__(self) -> None:
        self.colour += 0x010203
        self.gc.change(foreground=self.colour & 0xFFFFFF)
        for rect in self.rects:
            self.root.fill_rectangle(self.gc, *rect)
        self.display.sync()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    read, write = os.pipe()
    argv = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp", "-noreset"]
    server = subprocess.Popen(argv, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as told:
            measure(f":{told.readline().strip()}", rounds)
    finally:
        server.kill()
        server.wait()


def measure(name: str, rounds: int) -> None:
    one, other = WithXlib(name), WithXcb(name)
    spots = [Rect(100 * x + 40, 100 * y + 40, 30, 30) for x in range(6) for y in range(4)]
    scenes = {
        "picture: 120×20 was drawn": (Rect(300, 300, 120, 20), [Rect(300, 300, 120, 20)]),
        "picture: 24 places were drawn": (Rect(0, 0, 640, 440), spots),
        "picture: all of 1920×1080": (WHOLE, [WHOLE]),
    }
    print(f"{rounds} rounds; load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; xcffib {xcffib.__version__}\n")
    print("| | python-xlib ms | xcffib ms | ratio | python-xlib CPU ms | xcffib CPU ms | ratio |\n" + 7 * "|---" + "|")
    for title, (rect, rects) in scenes.items():
        draw = Drawn(name, rects)
        told(title, pairs(partial(one.picture, rect), partial(other.picture, rect), rounds, draw))
    told(f"{EACH} movements of the pointer", pairs(one.move, other.move, rounds))
    told(f"{EACH // 5} characters typed", pairs(one.type, other.type, rounds))
    few = max(rounds // 10, 5)
    data = os.urandom(PIECE)
    sent = f"{PIXELS // 1024}Ki pixels without MIT-SHM"
    told(sent, pairs(one.sent_pixels, other.sent_pixels, few))
    told(f"{sent}, by hand", pairs(one.sent_pixels, other.sent_pixels_by_hand, few))
    told("192 KiB for the clipboard written", pairs(partial(one.put, data), partial(other.put, data), few))
    told("the same by hand", pairs(partial(one.put, data), partial(other.put_by_hand, data), few))
    told("192 KiB of the clipboard read", pairs(one.get, other.get, few))
    told("the same by hand", pairs(one.get, other.get_by_hand, few))
    told("connecting", pairs(lambda: WithXlib(name), lambda: WithXcb(name), few))
    started(few)


def pairs(
    one: Callable[[], Any], other: Callable[[], Any], rounds: int, before: Callable[[], None] = lambda: None
) -> list[tuple[float, float, float, float]]:
    """Wall and CPU seconds of both, for each round; the first rounds are not counted."""
    found = []
    for number in range(rounds + 3):
        before()  # once for both: each has a damage of its own
        taken = {}
        for which in (one, other) if number % 2 else (other, one):
            wall, cpu = time.perf_counter(), time.thread_time()
            which()
            taken[which] = time.perf_counter() - wall, time.thread_time() - cpu
        found.append((*taken[one], *taken[other]))
    return found[3:]


def told(title: str, found: list[tuple[float, float, float, float]]) -> None:
    wall, cpu, other_wall, other_cpu = (1000 * statistics.median(column) for column in zip(*found, strict=True))
    slower = statistics.median(row[2] / row[0] for row in found)
    dearer = statistics.median(row[3] / row[1] for row in found)
    times = f"{wall:.2f} | {other_wall:.2f} | {slower:.2f} | {cpu:.2f} | {other_cpu:.2f} | {dearer:.2f}"
    print(f"| {title} | {times} |", flush=True)


def started(rounds: int) -> None:
    """How long each is imported, and how much memory a process has then; by processes of their own."""
    times: dict[str, list[float]] = {PARTS: [], PARTS_XCB: []}
    sizes: dict[str, list[float]] = {PARTS: [], PARTS_XCB: []}
    for _ in range(rounds):
        for words in times:
            done = subprocess.run([sys.executable, "-P", "-c", f"{words}; {LOOK}"], capture_output=True, check=True)
            spent, size = done.stdout.split()
            times[words].append(float(spent))
            sizes[words].append(int(size) / 1024)
    print("\n| a process that imports it, with numpy | CPU ms | MiB |\n|---|---|---|")
    for title, words in (("python-xlib", PARTS), ("xcffib", PARTS_XCB)):
        print(f"| {title} | {1000 * statistics.median(times[words]):.0f} | {statistics.median(sizes[words]):.1f} |")


if __name__ == "__main__":
    main()
