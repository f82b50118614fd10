"""How the trial machine ends, by accident and on purpose. By its name this file runs after the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest
from PIL import Image

import pommel
from driver import wait_until

from .conftest import Trial

pytestmark = pytest.mark.e2e


def test_kill_9_of_qemu_is_seen_and_start_cleans_up(trial: Trial) -> None:
    trial.guest("echo kept > precious; sync")
    os.kill(trial.shell.json("status", "trial")["pid"], signal.SIGKILL)
    wait_until(lambda: trial.shell.json("status", "trial")["state"] == "crashed", 10)
    told = trial.shell.json("up", "trial", "--wait", "ssh", timeout_s=300)
    assert told["state"] == "running"
    assert trial.guest("cat precious") == "kept\n"


def test_the_example_of_the_python_api_runs(trial: Trial) -> None:
    assert pommel.__doc__ is not None
    example = textwrap.dedent(pommel.__doc__[pommel.__doc__.index("    from pommel import") :])
    done = subprocess.run([sys.executable, "-c", example], env=trial.shell.env, cwd=trial.shell.cwd, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, check=True)  # fmt: skip
    assert f"{trial.told['ssh_port']} Linux 6." in done.stdout
    with Image.open(trial.shell.cwd / "trial.png") as picture:
        assert picture.size == (1280, 800)
    assert trial.shell.json("status", "trial")["state"] == "stopped"
    trial.shell.run("up", "trial", "--wait", "ssh", timeout_s=300)


def test_stop_is_acpi_and_nothing_is_left_behind(trial: Trial) -> None:
    assert trial.shell.json("stop", "trial", timeout_s=200) == {"name": "trial", "state": "stopped", "how": "acpi"}
    assert trial.shell.json("status", "trial")["state"] == "stopped"
    assert "trial is not running" in trial.shell.run("stop", "trial", status=3).stderr
    # The console sees that its machine has gone and, after a while in which it might come back, goes too.
    wait_until(lambda: not trial.shell.processes(), 40)
