"""Staying with a machine: real QEMUs that are killed, stopped, or cannot be started again."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pommel.errors import MachineError, StateError
from pommel.machine import events, lifecycle, state, stopping
from pommel.machine.runstate import How, RunEnd
from pommel.machine.state import MachineState
from pommel.machine.watching import RestartLimits, watch
from pommel.paths import MachinePaths
from pommel.progress import Progress
from waits import wait_until

from .bare import argv, make, qemus, short_home

QUICK = RestartLimits(restarts=3, within_s=600, first_s=0.01, longest_s=0.02)
SLOW = RestartLimits(restarts=3, within_s=600, first_s=60, longest_s=60)


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


class Watcher:
    """A watch in a thread: what it answers, and what it says."""

    def __init__(self, paths: MachinePaths, start: Callable[[], object], limits: RestartLimits = QUICK) -> None:
        self.said: list[Progress] = []
        self._found: list[RunEnd | Exception] = []
        self._thread = threading.Thread(target=self._watch, args=(paths, start, limits))
        self._thread.start()

    def _watch(self, paths: MachinePaths, start: Callable[[], object], limits: RestartLimits) -> None:
        try:
            self._found.append(watch(paths, start, limits=limits, report=self.said.append))
        except Exception as failure:
            self._found.append(failure)

    def end(self) -> RunEnd | Exception:
        self._thread.join(30)
        return self._found[0]


def kill(paths: MachinePaths) -> None:
    pid = state.observe(paths).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def running_anew(paths: MachinePaths, times: int) -> None:
    wait_until(lambda: words(paths).count("running") == times)


def words(paths: MachinePaths) -> list[str]:
    return [event.word for event in events.read(paths)]


def test_a_crashed_machine_is_started_again_and_a_stop_ends_it(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    watcher = Watcher(paths, lambda: lifecycle.start(paths, argv(paths)))
    for times in (2, 3):
        kill(paths)
        running_anew(paths, times)
    stopping.stop(paths, force=True)
    ended = watcher.end()
    assert isinstance(ended, RunEnd) and ended.how is How.STOPPED
    assert qemus(paths) == []
    crash = ["crashed", "restart", "start", "running"]
    assert words(paths) == ["start", "running", *crash, *crash, "stop", "stopped"]
    assert "number 2 of 3" in watcher.said[1].text and watcher.said[1].warning


def test_one_that_keeps_crashing_is_left_alone(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    watcher = Watcher(paths, lambda: lifecycle.start(paths, argv(paths)))
    for times in (1, 2, 3, 4):
        running_anew(paths, times)
        kill(paths)
    failure = watcher.end()
    assert isinstance(failure, MachineError)
    assert "m is not restarted: it crashed again after 3 restarts within 10 min: QEMU was killed" in failure.message
    assert failure.hint == "pommel log m"
    assert words(paths)[-1] == "given up" and state.observe(paths).state is MachineState.CRASHED


def test_one_that_cannot_be_started_again_counts_as_crashed(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    tries = itertools.count()

    def start() -> None:
        if next(tries) < 2:
            lifecycle.start(paths, argv(paths, "-device", "nonesuch"))
        lifecycle.start(paths, argv(paths))

    watcher = Watcher(paths, start)
    kill(paths)
    running_anew(paths, 2)
    stopping.stop(paths, force=True)
    assert isinstance(watcher.end(), RunEnd)
    assert words(paths).count("start failed") == 2


def test_a_start_that_always_fails_is_given_up(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))

    def refuse() -> None:
        raise StateError("it may not be started now")

    watcher = Watcher(paths, refuse)
    kill(paths)
    failure = watcher.end()
    assert isinstance(failure, MachineError) and "it may not be started now" in failure.message


def test_a_crashed_machine_that_is_stopped_while_the_watch_rests(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    watcher = Watcher(paths, lambda: pytest.fail("it was started"), SLOW)
    kill(paths)
    wait_until(lambda: "restart" in words(paths))
    stopping.stop(paths)
    ended = watcher.end()
    assert isinstance(ended, RunEnd) and ended.how is How.STOPPED


def test_one_that_somebody_else_starts_is_watched_on(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    watcher = Watcher(paths, lambda: pytest.fail("it was started twice"), SLOW)
    kill(paths)
    wait_until(lambda: "restart" in words(paths))
    lifecycle.start(paths, argv(paths))
    time.sleep(0.5)  # in which the watch must notice
    pid = state.observe(paths).pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    ended = watcher.end()
    assert isinstance(ended, RunEnd) and ended.how is How.SIGNAL


def test_restarts_of_long_ago_do_not_count(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    clock = itertools.count(0, 1000)  # each look at the clock is a quarter of an hour later
    starts: list[int] = []

    def start() -> None:
        starts.append(lifecycle.start(paths, argv(paths)).pid)
        os.kill(starts[-1], signal.SIGKILL if len(starts) < 6 else signal.SIGTERM)

    kill(paths)
    ended = watch(paths, start, limits=QUICK, clock=lambda: float(next(clock)))
    assert ended.how is How.SIGNAL and len(starts) == 6
