"""The window and the Terminal of the stand-in for Recovery, each by its own program in a terminal: what keys lead to."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pommel.trial import base_system
from waits import wait_until

LIB = Path(base_system.__file__).parent / "data/base_system/usr/local/lib/recovery"
SHORTCUT, MENU = b"\033[terminal;", b"\033[menu;"  # what Xresources has xterm send


class Screen:
    """A program of the stand-in in a terminal; its `xterm` writes down that it was called."""

    def __init__(self, folder: Path, program: str, faults: str) -> None:
        self.state, lib = folder / "state", folder / "lib"
        self.state.mkdir()
        (self.state / "faults").write_text(faults)
        shutil.copytree(LIB, lib)
        for each in lib.iterdir():
            each.chmod(0o755)
        (lib / "bin/xterm").write_text("#!/bin/sh\necho opened >>/run/recovery/opened\n")
        (lib / "bin/xterm").chmod(0o755)
        (lib / "disks").write_text("#!/bin/sh\n")
        words = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/usr/local/lib"]
        words += ["--ro-bind", str(lib), "/usr/local/lib/recovery", "--tmpfs", "/run", "--bind", str(self.state)]
        words += ["/run/recovery", "--setenv", "PATH", "/usr/local/lib/recovery/bin:/usr/bin:/bin", "--die-with-parent"]
        self.ours, theirs = pty.openpty()
        command = [*words, f"/usr/local/lib/recovery/{program}"]
        self.child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        os.set_blocking(self.ours, False)
        self.shown = b""

    def shows(self, text: bytes) -> bool:
        with contextlib.suppress(OSError):
            self.shown += os.read(self.ours, 1 << 16)
        return text in self.shown

    def press(self, keys: bytes, then: bytes) -> None:
        self.shown = b""
        os.write(self.ours, keys)
        wait_until(lambda: self.shows(then), 20)

    def opened(self) -> int:
        file = self.state / "opened"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.ours)


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    made: list[Screen] = []

    def start(program: str, faults: str = "") -> Screen:
        made.append(Screen(tmp_path, program, faults))
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_return_without_a_terminal_starts_time_machine_and_escape_leads_back(screen: Callable[..., Screen]) -> None:
    window = screen("utilities")
    wait_until(lambda: window.shows(b"Continue: Return"), 20)
    window.press(b"sh\n", then=b"Looking for backups")
    window.press(b"\033", then=b"Continue: Return")
    assert window.opened() == 0
    window.press(SHORTCUT, then=b"Continue: Return")
    wait_until(lambda: window.opened() == 1, 20)


def test_the_menu_opens_the_terminal_too_and_the_first_tries_can_fail(screen: Callable[..., Screen]) -> None:
    window = screen("utilities", "no-terminal=2")
    wait_until(lambda: window.shows(b"Continue: Return"), 20)
    for tries in range(3):
        window.press(MENU, then=b"[Recovery]")
        window.press(b"u", then=b"[Utilities]")
        window.press(b"\n", then=b"Startup Security Utility, Terminal")
        window.press(b"t", then=b"[Terminal]")
        window.press(b"\n", then=b"Continue: Return")
        wait_until(lambda expected=int(tries == 2): window.opened() == expected, 20)


def test_the_terminal_loses_the_slashes_of_the_first_line_only_where_that_is_wanted(
    screen: Callable[..., Screen],
) -> None:
    terminal = screen("terminal", "drops=1")
    wait_until(lambda: terminal.shows(b"-bash-3.2# "), 20)
    terminal.press(b"echo a/b c/d\n", then=b"\rab cd\r\n")
    terminal.press(b"echo a/b c/d\n", then=b"\ra/b c/d\r\n")
