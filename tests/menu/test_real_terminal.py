"""The menu on a real terminal (tmux): it is seen, and whatever ends it, the terminal is as before."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver import Shell
from pommel.process import which
from waits import wait_until

MENU = "import sys; from pommel.cli.menu import menu_command as m; sys.exit(m.main([], standalone_mode=False))"


class Terminal:
    """A shell in tmux, 80×24, and keys to it. The server is this test's own."""

    def __init__(self, shell: Shell, **env: str) -> None:
        self.shell = shell
        self.socket = shell.root / "tmux"
        self.root = shell.root
        self.env = {**{k: v for k, v in shell.env.items() if k not in ("TMUX", "NO_COLOR", "COLORTERM")}, **env}
        self._tmux("new-session", "-d", "-x", "80", "-y", "24", "-c", str(shell.cwd), "env", "PS1=$ ", "sh", "-i")
        self.wait("$")

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            [which("tmux"), "-S", self.socket, "-f", "/dev/null", *words], env=self.env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def type(self, line: str) -> None:
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def modes(self) -> str:
        """What programs ask of a terminal: the other screen, the cursor, the mouse."""
        return self._tmux("display", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_cursor_flag}")

    def wait(self, text: str, timeout_s: float = 30) -> None:
        wait_until(lambda: text in self.screen(), timeout_s)

    def stty(self, name: str) -> str:
        said = self.root / name
        self.type(f"stty -g > {said}.part; mv {said}.part {said}")
        wait_until(said.exists, 10)
        return said.read_text()

    def begin(self) -> None:
        """Start the menu, and wait until it stands."""
        script = self.root / "menu.py"
        script.write_text(MENU)
        self.type(f"clear; {shlex.quote(sys.executable)} {script}; echo ended with $?")
        self.wait("q quit")
        self.wait("absent")

    def pid(self) -> int:
        """The menu's process."""
        script = os.fsencode(self.root / "menu.py")
        for process in Path("/proc").glob("[0-9]*"):
            if script in (process / "cmdline").read_bytes().split(b"\0"):
                return int(process.name)
        raise AssertionError("no menu")

    def close(self) -> None:
        self._tmux("kill-server")
        wait_until(lambda: not self.shell.processes(), 20)


@pytest.fixture
def terminal(shell: Shell) -> Iterator[Terminal]:
    made = Terminal(shell)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("end", "status"), [("q", 0), ("C-c", 130), (signal.SIGTERM, 130), (signal.SIGINT, 130)], ids=str
)
def test_the_terminal_is_as_before(terminal: Terminal, end: str | signal.Signals, status: int) -> None:
    before, modes = terminal.stty("before"), terminal.modes()
    terminal.begin()
    assert "trial" in terminal.screen() and terminal.modes() != modes
    if isinstance(end, signal.Signals):
        os.kill(terminal.pid(), end)
    else:
        terminal.press(end)
    terminal.wait(f"ended with {status}")
    assert terminal.stty("after") == before
    assert terminal.modes() == modes
    assert "absent" not in terminal.screen()


def test_an_error_of_ours_leaves_the_terminal_too(terminal: Terminal, shell: Shell) -> None:
    before, modes = terminal.stty("before"), terminal.modes()
    broken = terminal.root / "broken.py"
    broken.write_text(
        "import sys; from pommel.menu.calls import Calls\n"
        "def broken(self): raise ZeroDivisionError('a bug')\n"
        "Calls.machines = broken\n" + MENU
    )
    terminal.type(f"clear; {shlex.quote(sys.executable)} {broken}; echo ended with $?")
    terminal.wait("ended with 1")
    assert "ZeroDivisionError: a bug" in terminal.screen()
    assert terminal.stty("after") == before
    assert terminal.modes() == modes


def test_a_terminal_that_goes_away_takes_the_menu_with_it(shell: Shell) -> None:
    terminal = Terminal(shell)
    terminal.begin()
    pid = terminal.pid()
    terminal.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 20)


def test_it_is_resized(terminal: Terminal, shell: Shell) -> None:
    terminal.begin()
    for width, height in (("50", "14"), ("120", "40")):
        terminal._tmux("resize-window", "-x", width, "-y", height)
        wait_until(lambda h=int(height): "q quit" in terminal.screen().splitlines()[h - 1], 10)
    terminal.press("q")
    terminal.wait("ended with 0")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"LANG": "C", "LC_ALL": "C"}])
def test_without_colours_and_without_a_locale(shell: Shell, env: dict[str, str]) -> None:
    terminal = Terminal(shell, **env)
    try:
        terminal.begin()
        shown = terminal._tmux("capture-pane", "-p", "-e")
        if "NO_COLOR" in env:
            assert "\x1b[38;" not in shown and "\x1b[48;" not in shown and "\x1b[3" not in shown.replace("\x1b[39m", "")
            assert "\x1b[7m" in shown or "\x1b[1;7m" in shown or "\x1b[2;7m" in shown
        terminal.press("q")
        terminal.wait("ended with 0")
    finally:
        terminal.close()
