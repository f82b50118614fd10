"""The tests' own `Shell`: a command that does not end is told of, and ended, before pytest-timeout ends the test."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

import isolation
from app.machine.test_waiting import tiny as tiny
from driver import Shell
from waits import wait_until


def test_a_command_that_does_not_end_is_told_of_with_its_machine(tiny: Shell) -> None:
    with pytest.raises(AssertionError) as told:
        tiny.run("start", "m", "--wait", "ssh", "--json", timeout_s=3)
    said = str(told.value)
    assert "pommel start m --wait ssh --json\ndid not end in" in said
    assert "waiting for SSH of m" in said, "what the child itself has printed"
    assert 'pommel/app/machine/waiting.py", line' in said, "and where it stood"
    assert '"state": "running"' in said and "pommel doctor m --stuck" in said
    assert "QEMU answers (pid" in said, "the machine's own logs"
    assert [line for line in said.splitlines() if "qemu-system-x86_64" in line and " state " in line]
    tiny.run("stop", "m", "--force")


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Have the test's time be up so soon, for those who ask; pytest-timeout goes by its own."""
    monkeypatch.setattr(isolation, "_ends_at", math.inf)
    return isolation.begin_test


@pytest.mark.timeout(77)
def test_the_limit_of_a_test_is_known_in_it() -> None:
    assert 60 < isolation.time_left() <= 77
    assert isolation.within_test(2) == 2 and isolation.within_test(300) < 0.7 * 77


def test_whoever_waits_gives_up_before_the_tests_time_is_up(shell: Shell, limit: Callable[[float], None]) -> None:
    assert isolation.time_left() == math.inf and isolation.within_test(5) == 5
    limit(3)
    with pytest.raises(AssertionError, match="not in 2 s"):
        wait_until(lambda: False, 300)
    limit(3)
    shell.command = ["sh", "-c", "echo out; echo err >&2; trap '' ABRT; while :; do sleep 0.1; done"]
    with pytest.raises(AssertionError, match=r"(?s)did not end in 2 s\n.*\nout\n.*\nerr\n") as told:
        shell.run()
    assert " state S in " in str(told.value)
    limit(math.inf)
    wait_until(lambda: not shell.processes(), 10)
