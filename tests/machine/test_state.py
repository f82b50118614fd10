"""Looking at machines: real QEMUs, and files that speak of nobody."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import process
from pommel.machine import lifecycle, logs, qmp, state
from pommel.machine.state import MachineState, Observed
from pommel.paths import MachinePaths
from waits import wait_until

from .bare import argv, make, short_home


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


@pytest.fixture
def running(paths: MachinePaths) -> MachinePaths:
    lifecycle.start(paths, argv(paths), accel="tcg")
    return paths


def test_no_folder_no_machine() -> None:
    with short_home() as home:
        assert state.observe(home.machine("nobody")) == Observed("nobody", MachineState.STOPPED)


def test_uptime_is_qemus_own(running: MachinePaths) -> None:
    first = state.observe(running)
    assert first.uptime_s is not None and first.since is not None
    assert 0 <= first.uptime_s < 60
    assert abs(first.since - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(seconds=60)
    time.sleep(0.05)
    later = state.observe(running)
    assert later.uptime_s is not None and later.uptime_s > first.uptime_s


def test_paused_is_seen_when_qemu_is_asked(running: MachinePaths) -> None:
    async def pause(monitor: qmp.Qmp) -> None:
        await monitor.execute("stop")

    qmp.run(qmp.within(running.qmp, 5, pause))
    assert state.observe(running, ask_s=5).state is MachineState.PAUSED
    assert state.observe(running).state is MachineState.RUNNING  # not asked: no more than that it lives


def test_a_hung_qemu_is_running_and_says_nothing(running: MachinePaths) -> None:
    pid = state.observe(running).pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    seen = state.observe(running, ask_s=0.1)
    assert (seen.state, seen.pid) == (MachineState.RUNNING, pid)
    assert "does not answer" in seen.detail


def test_a_qemu_that_ends_while_it_is_asked_does_not_run(running: MachinePaths) -> None:
    seen = state.observe(running)
    assert seen.pid is not None
    os.kill(seen.pid, signal.SIGKILL)
    wait_until(lambda: not state.observe(running).alive)
    assert [each.state for each in state.ask_all([(running, seen)], 0.1)] == [MachineState.CRASHED]


def test_a_guest_that_ended_by_itself_has_stopped(running: MachinePaths) -> None:
    async def leave(monitor: qmp.Qmp) -> None:
        await monitor.execute("quit")

    qmp.run(qmp.within(running.qmp, 5, leave))
    wait_until(lambda: not state.observe(running).alive)
    assert state.observe(running) == Observed("m", MachineState.STOPPED)
    assert state.run_file(running).exists()  # it speaks of nobody, and nobody is misled


def test_starting_lasts_as_long_as_its_starter(paths: MachinePaths) -> None:
    state.mark_starting(paths)
    assert state.observe(paths).state is MachineState.STARTING
    run = json.loads(state.run_file(paths).read_text())
    state.run_file(paths).write_text(json.dumps(run | {"start_ticks": run["start_ticks"] - 1}))  # a reused pid
    assert state.observe(paths).state is MachineState.STOPPED
    state.run_file(paths).write_text(json.dumps(run | {"boot_id": "another"}))
    assert state.observe(paths).state is MachineState.STOPPED
    state.forget_run(paths)
    state.forget_run(paths)
    assert state.observe(paths).state is MachineState.STOPPED


def test_a_crash_by_power_cut_is_told_apart(paths: MachinePaths) -> None:
    paths.pidfile.write_text("1\n")
    assert "killed" in state.observe(paths).detail
    state.mark_running(paths, os.getpid())
    run = json.loads(state.run_file(paths).read_text())
    state.run_file(paths).write_text(json.dumps(run | {"boot_id": "another"}))
    seen = state.observe(paths)
    assert (seen.state, seen.detail) == (MachineState.CRASHED, "the host went down while it ran")


def test_a_crash_tells_qemus_last_words_of_this_run(paths: MachinePaths) -> None:
    paths.pidfile.write_text("1\n")
    assert state.observe(paths).detail == (
        "QEMU was killed or crashed; it printed nothing; if the host ran out of memory, dmesg shows it"
    )
    logs.begin(paths, "m starts")
    with paths.log.open("ab") as log:
        log.write(b"one\n\x1b[31mtwo\xff\r\nthree\n\n")
    assert state.observe(paths).detail == "QEMU was killed or crashed; its last output: two\ufffd / three"
    logs.begin(paths, "m starts again")
    assert "printed nothing" in state.observe(paths).detail


@pytest.mark.parametrize(
    "damaged", ["", "{", "[]", "7", '{"phase": 1}', '{"phase":"x","pid":"y","start_ticks":0,"boot_id":""}']
)
def test_a_damaged_run_file_speaks_of_nobody(running: MachinePaths, damaged: str) -> None:
    pid = state.observe(running).pid
    state.run_file(running).write_text(damaged)
    seen = state.observe(running)
    assert (seen.state, seen.pid, seen.accel) == (MachineState.RUNNING, pid, None)


def test_a_process_name_with_parentheses(paths: MachinePaths, tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    shutil.copy(process.which("sleep"), program)
    child = process.spawn_detached([program, "60"], tmp_path / "log")
    try:
        wait_until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "a) R 1 (b\n")
        state.mark_running(paths, child.pid)
        run = json.loads(state.run_file(paths).read_text())
        began = run["start_ticks"] / os.sysconf("SC_CLK_TCK")
        assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - began < 60
    finally:
        child.kill()
    state.forget_run(paths)
    state.mark_running(paths, child.pid)
    assert not state.run_file(paths).exists()  # nothing is said of a process that is gone
