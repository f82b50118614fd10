"""Collect the reports of an unattended installation: from its scripts, and about restarts of its guest. Band: app.

The scripts report by HTTP to the inbox, and also to a file on their disk. After QEMU has ended, that disk is searched
for reports that did not arrive. It is also searched while QEMU runs, as long as no report has come by HTTP: Recovery
may have no network. The guest can write to its file system, so that is not parsed: only lines are searched for.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from pommel.app.recipe.signs import Report
from pommel.app.unattended import kept
from pommel.errors import PommelError
from pommel.machine import journal, logs, qmp, state
from pommel.machine.events import note_event
from pommel.paths import MachinePaths
from pommel.tasks import background
from pommel.unattended.scripts import ALIVE, DONE, FAILED, NOT_FINISHED, PREPARED, WORDS

if TYPE_CHECKING:
    from pommel.unattended.inbox import Inbox

RESTARTED = "restarted"
_EVENT = "guest"
_NOTED_MAX = 1000  # reports in the machine's log for each run, because the guest may send any number
_ALIVE_EVERY_S = 20.0
_BOUND_EVERY_S = 60.0
_TEXT_MAX = 300
_DISK_MAX = 64 << 20
_DISK_EVERY_S = 10.0
_LAST = (PREPARED, NOT_FINISHED, DONE, FAILED)
# A file begins after the zeros that fill the cluster before it.
_LINE = re.compile(rf"(?:^|(?<=\0))({'|'.join(WORDS)}) ([^\n\0]{{0,{_TEXT_MAX}}})$".encode(), re.MULTILINE)
_RETRY_S = 1.0


class Hearing:
    """A call returns the new reports, and notes them in the machine's log. `close` ends it."""

    def __init__(self, paths: MachinePaths, inbox: Inbox) -> None:
        self._paths, self._inbox = paths, inbox
        self._restarts: deque[Report] = deque(maxlen=100)
        self._looked_at_disk = self._by_network = False
        self._disk = _RunningDisk(kept.disk_of(paths))
        self._restarted_times = 0
        self._noted, self._alive_s, self._bound_s = 0, 0.0, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="unattended-restarts", daemon=True)
        self._thread.start()

    def __call__(self) -> list[Report]:
        """The reports since the last call; after the end of QEMU, or without a network, also those on the disk."""
        alive = state.observe(self._paths).alive
        found = [Report(each.word, each.text, each.at_s) for each in self._inbox.take()]
        self._by_network = alive and (self._by_network or bool(found))
        written = self._disk.new()
        if alive and not self._by_network:
            found += written
        while self._restarts:
            found.append(self._restarts.popleft())
        if not alive and not self._looked_at_disk:
            found += on_disk(kept.disk_of(self._paths))
        self._looked_at_disk = not alive
        for report in found:
            self._note(report)
        if time.monotonic() - self._bound_s > _BOUND_EVERY_S:
            self._bound_s = time.monotonic()
            logs.bound(self._paths)
        return found

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join(_RETRY_S * 3)

    def _note(self, report: Report) -> None:
        now = time.monotonic()
        if self._noted >= _NOTED_MAX or (report.word == ALIVE and now - self._alive_s < _ALIVE_EVERY_S / 2):
            return
        self._noted += 1
        if report.word == ALIVE:
            self._alive_s = now
        note_event(self._paths, _EVENT, journal.clean(f"{report.word}: {' '.join(report.text.split())}")[:_TEXT_MAX])

    def _listen(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(PommelError, OSError):
                asyncio.run(self._restarted())
            self._over.wait(_RETRY_S)

    async def _restarted(self) -> None:
        async with qmp.connect(socket_of(self._paths)) as monitor, background(self._watch(monitor)) as (watching,):
            while not self._over.is_set() and not watching.done():
                await asyncio.wait([watching], timeout=_RETRY_S)

    async def _watch(self, monitor: qmp.Qmp) -> None:
        with monitor.listening("RESET") as events:
            async for event in events:
                if event.data.get("guest"):
                    self._restarted_times += 1  # each is news, and a report that repeats the last one is not
                    self._restarts.append(Report(RESTARTED, f"time {self._restarted_times}", time.monotonic()))


def socket_of(paths: MachinePaths) -> Path:
    """A QMP socket for this module only: a QMP socket serves one client, and the console may use the others."""
    return paths.runtime / "resets.sock"


class _RunningDisk:
    """What the guest has written to the script disk since this process looked at it first, or since it was made."""

    def __init__(self, image: Path) -> None:
        self._image = image
        self._inode: int | None = None
        self._seen, self._next_s = 0, 0.0

    def new(self) -> list[Report]:
        """The reports since the last call, in their order; the disk is read every 10 s at most."""
        inode = self._image.stat().st_ino if self._image.exists() else 0
        if inode != self._inode:  # it is made anew for each start
            self._seen = len(_lines(self._image)) if self._inode is None else 0
            self._inode = inode
        now = time.monotonic()
        if now < self._next_s:
            return []
        self._next_s = now + _DISK_EVERY_S
        found = _lines(self._image)[self._seen :]
        self._seen += len(found)
        return found


def on_disk(image: Path) -> list[Report]:
    """The final reports of the scripts on the disk `image`, in their order; none if there is no disk."""
    return [report for report in _lines(image) if report.word in _LAST]


def _lines(image: Path) -> list[Report]:
    with contextlib.suppress(OSError), image.open("rb") as file:
        now, data = time.monotonic(), file.read(_DISK_MAX)
        return [Report(each[1].decode(), each[2].decode(errors="replace"), now) for each in _LINE.finditer(data)]
    return []
