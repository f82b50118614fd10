"""How the trial machine ends, by accident and on purpose. By its name this file runs after the others."""

from __future__ import annotations

import os
import signal

import pytest

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


def test_stop_is_acpi_and_nothing_is_left_behind(trial: Trial) -> None:
    assert trial.shell.json("stop", "trial", timeout_s=200) == {"name": "trial", "state": "stopped", "how": "acpi"}
    assert trial.shell.json("status", "trial")["state"] == "stopped"
    assert "trial is not running" in trial.shell.run("stop", "trial", status=3).stderr
    # The console sees that its machine has gone and, after a while in which it might come back, goes too.
    wait_until(lambda: not trial.shell.processes(), 40)
