"""Ctrl-C and kill -9 while the trial machine is being made: nothing half-made counts, nothing is left running."""

from __future__ import annotations

import signal
import subprocess

import pytest

from driver import Shell
from waits import wait_until

pytestmark = pytest.mark.e2e


def building(shell: Shell) -> subprocess.Popen[bytes]:
    """`pommel up trial` in a home without a base image, once mmdebstrap works for it."""
    child = shell.popen("up", "trial", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_until(lambda: len(shell.processes()) > 2, 60)
    assert child.poll() is None
    return child


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_build_that_is_cut_off(shell: Shell, sign: signal.Signals, status: int) -> None:
    child = building(shell)
    child.send_signal(sign)
    out = shell.ended(child, timeout_s=60, status=status).stdout
    if sign == signal.SIGINT:
        assert "interrupted" in out
        assert "Traceback" not in out
    wait_until(lambda: not shell.processes(), 30)
    steps = {s["what"].split()[0]: s["needed"] for s in shell.json("up", "trial", "--dry-run")["steps"]}
    assert steps["build"] and steps["make"] and steps["start"]
    assert shell.json("status", "trial")["state"] == "absent"
