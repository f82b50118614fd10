"""Two people, or one with two terminals: the same command twice at the same instant."""

from __future__ import annotations

import json
import subprocess

import pytest

from driver import Shell
from waits import wait_until

from .conftest import BUILD_S, UP_S

pytestmark = pytest.mark.e2e


def test_two_ups_at_once_make_one_machine_and_one_console() -> None:
    shell = Shell(share_base=True)
    try:
        shell.config('[machine.twin]\nupstream = "trial"\nmemory = "512M"\n')
        both = [
            shell.popen(
                "up",
                "twin",
                "--json",
                "--wait",
                "screen",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        ended = [shell.ended(child, timeout_s=BUILD_S + UP_S) for child in both]
        told = [json.loads(done.stdout.splitlines()[-1]) for done in ended]
        assert told[0]["url"] == told[1]["url"]
        assert told[0]["pid"] == told[1]["pid"] and told[0]["console_pid"] == told[1]["console_pid"]
        assert shell.json("stop", "twin", "--force")["how"] == "quit"
        wait_until(lambda: not shell.processes(), 40)
    finally:
        shell.close()
