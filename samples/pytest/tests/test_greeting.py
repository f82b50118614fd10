"""The project is copied into a new machine, built there and tried there; what was built comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from pommel import PommelError

PROJECT = Path(__file__).parents[1]


def test_it_is_built_and_greets(pommel_machine, tmp_path):
    pommel_machine.copy_in(PROJECT)
    pommel_machine.run("sh", "build.sh")
    assert pommel_machine.run("dist/greet", input=b"Ada\nGrace\n").text == "hello, Ada\nhello, Grace"
    built = pommel_machine.copy_out("dist/greet", tmp_path)
    assert built.read_text().endswith("# built on Linux\n")


def test_a_failure_says_what_the_command_wrote(pommel_machine):
    with pytest.raises(PommelError, match="build"):  # another machine: nothing of the first test is there
        pommel_machine.run("sh", "build.sh")
    assert pommel_machine.run("sh", "-c", "exit 255", check=False).status == 255
