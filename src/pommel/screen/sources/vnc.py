"""QEMU's screen through its VNC server: a `FrameSource`, and the connection shared with a sink. Band: shell.

The server's pixels are received into one frame. Changed pixels are found and copied into a second frame, which viewers
get; a thread does this if there are many. What a server copies (CopyRect) reaches viewers as a move, without a search;
QEMU 7.2 sends no such copies, TigerVNC's Xvnc does.

QEMU checks its display every 30 ms while it changes, and more and more rarely, down to every 3 s, while it does not. A
key event resets this to 30 ms, counted from the last check (ui/vnc.c, vnc_refresh and protocol_client_msg;
ui/console.c, update_displaychangelistener). To see a change of a quiet screen at once, a watched source now and then
sends the release of a key that nobody holds (F24), which QEMU does not pass to the guest. While a person uses the
machine, it does so within each 30 ms. Without this, QEMU would check at the moment of the person's key, before the
guest has drawn anything, and again only 30 to 80 ms later.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

from pommel.screen import rfb, sights
from pommel.screen import rfb_requests as ask
from pommel.screen.frame import Frame
from pommel.screen.geometry import Rect, Size, total_area, whole
from pommel.screen.move_search import MovedArea
from pommel.screen.moves import MoveFinder, joined_copies, take_moved
from pommel.screen.pointer import PointerPicture
from pommel.screen.rfb_link import RfbLink, open_link
from pommel.screen.seams import SourceEnded, Update
from pommel.screen.sinks.vnc import QmpMouse, VncSink
from pommel.screen.tiles import Changes, take_over, touched
from pommel.wire.keymap import find_key
from pommel.wire.messages import CAPS_LOCK, NUM_LOCK, SCROLL_LOCK

NUDGE_S = 0.1
AFTER_INPUT_NUDGE_S, AFTER_INPUT_S = 0.025, 10.0
_F24 = find_key(0x87)
_NUDGE = ask.qemu_key_event(_F24.qnum, _F24.keysym, False) if _F24 else b""
_LEDS = ((1, SCROLL_LOCK), (2, NUM_LOCK), (4, CAPS_LOCK))
_MANY_RECTS = 4096
_MUCH = 512 * 1024  # pixels; comparing them takes half a millisecond, so more is done in a thread


class VncSource:
    """The screen behind an `RfbLink`, asked for one update at a time."""

    def __init__(self, link: RfbLink) -> None:
        self._link = link
        self._damage: list[Rect] = []
        self._copies: list[MovedArea] = []  # what the server copied, of the same updates
        self._covered = 0  # pixels received of this frame; it is not shown until all have arrived
        self._pointer_visible: bool | None = None
        self._pointer: PointerPicture | None = None
        self._lock_keys: int | None = None
        self._relative: bool | None = None
        self._asked_for: Frame | None = None  # the frame that it has asked for as a whole
        self._asked_after: int | None = None  # the updates of the client when it asked last
        self._shown = Frame.blank(Size(0, 0))
        self._comparing: asyncio.Future[Update] | None = None
        self.finder = MoveFinder()
        self._news = asyncio.Event()
        self._nudge: asyncio.TimerHandle | None = None
        link.on_event = self._heard
        link.on_update = self._news.set
        link.on_end = self._ended
        link.on_input = self._expect_change
        self._expecting_until_s = 0.0
        for event in link.newest_events:
            self._heard(event)

    async def next_update(self) -> Update | SourceEnded:
        """Wait for the next update, asking for it first (see `FrameSource`).

        Raises:
            RfbError: the server broke the protocol.
        """
        if self._comparing is None:
            await self._until_news()
            if not self._has_news():
                return SourceEnded(self._link.ended or "")
            self._comparing = self._compare()
        update = await asyncio.shield(self._comparing)
        self._comparing = None
        return self._take(update)

    def show_display(self, number: int) -> None:
        """See `FrameSource`. QEMU's VNC server shows one display."""

    def watch(self, watched: bool) -> None:
        """Start or stop the nudges (see `FrameSource` and the top of this module)."""
        if self._nudge is not None:
            self._nudge.cancel()
            self._nudge = None
        if watched:
            self._ask(now=True)
            self._keep_attentive()

    def shows_something(self, frame: Frame) -> bool:
        """See `FrameSource`."""
        return sights.shows_something(frame)

    def _keep_attentive(self) -> None:
        if self._link.ended is None:
            if self._link.extended_keys:
                self._link.write(_NUDGE)
            self._schedule_nudge()

    def _schedule_nudge(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = AFTER_INPUT_NUDGE_S if loop.time() < self._expecting_until_s else NUDGE_S
        self._nudge = loop.call_later(pause_s, self._keep_attentive)

    def _expect_change(self) -> None:
        now = asyncio.get_running_loop().time()
        was_expecting = now < self._expecting_until_s
        self._expecting_until_s = now + AFTER_INPUT_S
        if self._nudge is not None and not was_expecting:
            self._nudge.cancel()
            self._schedule_nudge()

    def _is_whole(self) -> bool:
        size = self._link.client.frame.size
        return self._covered >= size.width * size.height

    def _has_news(self) -> bool:
        told = (self._pointer_visible, self._lock_keys, self._relative)
        return (bool(self._damage) or any(one is not None for one in told)) and self._is_whole()

    def _ask(self, *, now: bool = False) -> None:
        """Ask for changes; with `now`, QEMU answers even if nothing changed."""
        frame = self._link.client.frame
        everything = whole(frame.size)
        if self._asked_for is not frame:
            self._asked_for = frame
            self._link.write(ask.update_request(everything, incremental=False))
        else:
            if now:  # QEMU answers a non-incremental request for one pixel at once, and adds all changes
                self._link.write(ask.update_request(Rect(0, 0, 1, 1), incremental=False))
            self._link.write(ask.update_request(everything, incremental=True))
        self._asked_after = self._link.client.updates

    async def _until_news(self) -> None:
        while not self._has_news():
            if self._link.failure is not None:
                raise self._link.failure
            if self._link.ended is not None:
                return
            # TigerVNC answers each request that is not incremental with facts alone, and sends the pixels when it is
            # asked next, incrementally (VNCSConnectionST.cxx, framebufferUpdateRequest and writeFramebufferUpdate).
            if self._asked_after != self._link.client.updates:
                self._ask()
            self._news.clear()
            await self._news.wait()

    def _compare(self) -> asyncio.Future[Update]:
        """Begin to copy the received changes. Pixels that arrive meanwhile are new damage, and are compared again."""
        damage, self._damage = tuple(self._damage), []
        copies, self._copies = self._copies, []
        shown, source, loop = self._shown, self._link.client.frame, asyncio.get_running_loop()
        moves = joined_copies(copies, source.size) if self.finder.wanted else ()
        is_due = not moves and shown.size == source.size and self.finder.is_due(touched(source.size, damage))
        work = partial(_taken_over, shown, source, damage, moves, self.finder if is_due else None)
        if moves or is_due or total_area(damage) > _MUCH:
            return loop.run_in_executor(None, work)
        done = loop.create_future()
        done.set_result(work())
        return done

    def _take(self, update: Update) -> Update:
        self._shown = update.frame
        told = replace(
            update, pointer_visible=self._pointer_visible, pointer=self._pointer, lock_keys=self._lock_keys,
            relative=self._relative,
        )  # fmt: skip
        self._pointer_visible, self._pointer, self._lock_keys, self._relative = None, None, None, None
        return told

    def _heard(self, event: rfb.Event) -> None:
        match event:
            case rfb.Resized():
                self._damage, self._copies, self._covered = [], [], 0
                self._ask()
            case rfb.Updated(damage, copies):
                self._covered += total_area(damage)
                self._damage += damage
                self._copies += copies
                if len(self._damage) > _MANY_RECTS:
                    self._damage, self._copies = [whole(self._link.client.frame.size)], []
            case rfb.Cursor(visible, picture):
                self._pointer_visible, self._pointer = visible, picture
            case rfb.Leds(bits):
                self._lock_keys = sum(ours for theirs, ours in _LEDS if bits & theirs)
            case rfb.PointerType(absolute):
                self._relative = not absolute
            case _:
                return
        self._news.set()

    def _ended(self) -> None:
        self.watch(False)
        self._news.set()


def _taken_over(
    shown: Frame, source: Frame, damage: tuple[Rect, ...], moves: tuple[MovedArea, ...], finder: MoveFinder | None
) -> Update:
    if shown.size != source.size:
        everything = Changes.throughout(touched(source.size, [whole(source.size)]))
        return Update(source.copy(), damage, changed=everything)
    where = touched(source.size, damage)
    if finder:
        moves = finder.search(shown, source, where)
    if not moves:
        return Update(shown, damage, changed=take_over(shown, source, where))
    # Into a frame of its own: of the one that is shown, pictures are taken meanwhile that are moved after.
    after = shown.copy()
    moved = take_moved(after, source, moves, where)
    return Update(after, damage, changed=moved.changes(source.size), moved=moved)


class VncConnection:
    """One connection to QEMU's VNC server, as a source of pixels and a sink of input."""

    def __init__(self, link: RfbLink, monitor: QmpMouse | None = None) -> None:
        self._link = link
        self.source = VncSource(link)
        self.sink = VncSink(link, monitor=monitor)

    async def close(self) -> None:
        """End the connection after everything was sent."""
        self.source.watch(False)
        await self.sink.settle()
        await self._link.close()


async def connect_vnc(path: Path, *, timeout_s: float = 10.0, monitor: QmpMouse | None = None) -> VncConnection:
    """Connect to QEMU's VNC server on a Unix socket; `monitor` does the mouse actions that the server cannot do.

    Raises:
        StateError: nothing listens there.
        DeadlineError: it did not answer within `timeout_s`.
        RfbError: it is not an RFB 3.8 server without a password.
    """
    return VncConnection(await open_link(path, timeout_s=timeout_s), monitor)
