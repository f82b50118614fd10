"""A home with machines that are cheap: records, small disks, and real QEMUs with a guest of 41 bytes."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from textual.pilot import Pilot

from isolation import patient
from machine import bare
from pommel.app.machine.machines import Status
from pommel.app.machine.waiting import Until, Waited
from pommel.app.workspace import Workspace
from pommel.machine import lifecycle, record
from pommel.menu.calls import Calls
from pommel.menu.home import HomeScreen
from pommel.menu.menu import Menu
from pommel.menu.widgets import MachineList, StatusLine
from pommel.paths import MachinePaths
from pommel.progress import Progress, Report

MIB = 1 << 20
T = TypeVar("T")
TERMINAL = {"TERM": "xterm-256color"}


@contextlib.contextmanager
def stage() -> Iterator[Workspace]:
    """A home without machines; every QEMU in it is dead afterwards."""
    with bare.short_home() as home:
        cwd = home.root.parent / "cwd"
        cwd.mkdir()
        yield Workspace(home, cwd, dict(TERMINAL))


def make(workspace: Workspace, name: str, *, disk: bool = False) -> MachinePaths:
    """A machine that is there: its record and, if wanted, a small disk."""
    paths = bare.make(workspace.home, name)
    number = len(workspace.home.names()) + 1
    kept = record.MachineRecord(
        name=name,
        upstream="osx-kvm",
        uuid=f"00000000-0000-4000-8000-{number:012}",
        mac=f"52:54:00:00:00:{number:02}",
        ssh_port=2200 + number,
        created="2026-01-01T00:00:00+00:00",
    )
    record.save(paths.record, kept)
    if disk:
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", paths.directory / "mac_hdd_ng.img", "8M"], check=True
        )
    return paths


def run(paths: MachinePaths, *, presses: int = 1) -> int:
    """Start its QEMU, with a guest that powers down at the `presses`-th press; return the pid."""
    argv = bare.argv(paths, *bare.obedient(paths, presses))
    pid = aside(lambda: lifecycle.start(paths, argv, accel="tcg").pid)
    bare.listens(paths)
    return pid


def aside(call: Callable[[], T]) -> T:
    """Make a call that may not be made inside an event loop, and wait for it."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result()


class Slow(Calls):
    """The real app, but for what takes minutes: making and starting a machine ends when the test says so."""

    def __init__(self, where: Workspace) -> None:
        super().__init__(where)
        self.asked: list[tuple[str, ...]] = []
        self.ends, self.desktop = threading.Event(), threading.Event()
        self.tidied = False
        self.url = "http://127.0.0.1:41231/?token=abc"

    def up(self, name: str, report: Report) -> Status:
        self.asked.append(("up", name))
        try:
            while not self.ends.wait(0.02):
                report(Progress("fetching the recovery image", done=120 * MIB, total=700 * MIB, unit="B"))
        finally:
            self.tidied = True
        return Status(name, "running")

    def await_desktop(self, name: str, report: Report) -> Waited | None:
        while not self.desktop.wait(0.02):
            report(Progress("waiting for the desktop", "its screen is blank", 1, 300, "s"))
        return Waited(Until.DESKTOP, "its login window is there", known=True, short=False, seconds=1)

    def steps(self, name: str) -> list[str]:
        return ["clone OSX-KVM", f"start {name}"]

    def restart(self, name: str, report: Report) -> Status:
        self.asked.append(("restart", name))
        return Status(name, "running")

    def browse(self, url: str) -> bool:
        self.asked.append(("browse", url))
        return False


@dataclass
class Seat:
    """Someone at the menu: keys in, what stands on the screen out."""

    menu: Menu
    pilot: Pilot[None]

    @property
    def home(self) -> HomeScreen:
        home = self.menu.screen_stack[1]
        assert isinstance(home, HomeScreen)
        return home

    @property
    def rows(self) -> MachineList:
        return self.home.query_one(MachineList)

    @property
    def said(self) -> str:
        return str(self.home.query_one("#said", StatusLine).content)

    def text(self) -> str:
        """All that can be read on the screen now."""
        lines = self.menu.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in lines)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self.press(*text)

    async def choose(self, name: str) -> None:
        await self.until(lambda: name in [seen.name for seen in self.rows.machines])
        await self.press("home")
        while self.rows.chosen is None or self.rows.chosen.name != name:
            await self.press("down")

    async def until(self, true: Callable[[], object], timeout_s: float = 20.0) -> None:
        for _ in range(int(patient(timeout_s) / 0.05)):
            if true():
                return
            await self.pilot.pause(0.05)
        raise AssertionError(f"it did not come to pass; the screen says:\n{self.text()}")

    async def reads(self, *texts: str) -> None:
        """Wait until all of it can be read."""
        await self.until(lambda: all(text in self.text() for text in texts))

    def state(self, name: str) -> str | None:
        return next((seen.state for seen in self.rows.machines if seen.name == name), None)


@contextlib.asynccontextmanager
async def at_the_menu(
    workspace: Workspace, calls: Calls | None = None, *, size: tuple[int, int] = (80, 24), **env: str
) -> AsyncIterator[Seat]:
    """Sit down at the menu of a workspace; work that is left at the end is called off."""
    menu = Menu(replace(workspace, env={**workspace.env, **env}), calls)
    async with menu.run_test(size=size) as pilot:
        seat = Seat(menu, pilot)
        await seat.until(lambda: len(menu.screen_stack) > 1 and seat.rows.machines)
        yield seat
        if menu.is_running and len(menu.screen_stack) > 1:
            seat.home.work.leave_off()
            await seat.until(lambda: not seat.home.work.jobs)
