"""Where the menu can be shown, and what is said where it cannot."""

from __future__ import annotations

import subprocess
import sys

import pytest

from driver import Shell
from pommel.errors import UsageError
from pommel.menu.start import check_terminal


@pytest.mark.parametrize("term", [None, "", "dumb", "unknown"])
def test_a_terminal_that_cannot_is_refused_by_name(term: str | None) -> None:
    with pytest.raises(UsageError, match=term or "not set") as refusal:
        check_terminal({} if term is None else {"TERM": term}, is_terminal=True)
    assert refusal.value.hint == "to list the machines: pommel list"


def test_no_terminal_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a terminal"):
        check_terminal({"TERM": "xterm"}, is_terminal=False)


@pytest.mark.parametrize("term", ["xterm", "vt100", "linux", "screen", "tmux-256color"])
def test_others_are_fine(term: str) -> None:
    check_terminal({"TERM": term}, is_terminal=True)


def test_off_a_terminal_the_command_names_the_list(shell: Shell) -> None:
    code = "import sys; from pommel.cli.menu import menu_command as m; from pommel.errors import PommelError\n"
    code += "try: m.main([], standalone_mode=False)\nexcept PommelError as e: print(e.message, '|', e.hint); print('textual' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=shell.env, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.stdout == "the menu needs a terminal | to list the machines: pommel list\nFalse\n", done.stderr
