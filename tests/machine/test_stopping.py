"""The ladder, on real QEMUs: a guest that obeys, one that does not, and a QEMU that hears nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pommel.errors import MachineError
from pommel.machine import lifecycle, qmp, state
from pommel.machine.events import read
from pommel.machine.qmp import Qmp
from pommel.machine.state import MachineState
from pommel.machine.stopping import Patience, stop
from pommel.paths import MachinePaths
from pommel.progress import Progress
from waits import wait_until

from .bare import argv, finish, listens, make, obedient, pommel, qemus, short_home

HURRIED = Patience(qmp_s=0.3, quit_s=5, term_s=0.3, kill_s=10)


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


def ask(paths: MachinePaths, command: str) -> None:
    async def work(monitor: Qmp) -> None:
        await monitor.execute(command)

    qmp.run(qmp.within(paths.qmp, 5, work))


def nothing_is_left(paths: MachinePaths) -> None:
    assert qemus(paths) == []
    assert state.observe(paths).state is MachineState.STOPPED
    assert not any(path.exists() for path in (paths.pidfile, paths.qmp, paths.qmp_watch, state.run_file(paths)))


def test_a_guest_that_obeys_powers_down(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths)))
    listens(paths)
    events: list[Progress] = []
    assert stop(paths, timeout_s=30, report=events.append).how == "acpi"
    nothing_is_left(paths)
    assert events[0].total == 30 and events[0].unit == "s"
    assert events[-1].finished and "shut down" in events[-1].text


def test_the_button_is_pressed_again_half_way(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths, presses=2)))
    listens(paths)
    stopped = stop(paths, timeout_s=2)
    assert stopped.how == "acpi" and stopped.took_s > 1
    nothing_is_left(paths)


def test_a_paused_guest_is_let_go_on(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths)))
    listens(paths)
    ask(paths, "stop")
    assert state.observe(paths, ask_s=5).state is MachineState.PAUSED
    assert stop(paths, timeout_s=30).how == "acpi"
    nothing_is_left(paths)


def test_a_guest_that_does_not_listen_is_quit(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    events: list[Progress] = []
    assert stop(paths, timeout_s=0.6, report=events.append).how == "quit"
    assert any(event.warning and "did not shut down within 0.6 s" in event.text for event in events)
    nothing_is_left(paths)


def test_a_guest_that_is_past_obeying_is_quit_at_once(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, "-no-shutdown", *obedient(paths)))
    listens(paths)
    ask(paths, "system_powerdown")
    wait_until(lambda: state.observe(paths, ask_s=5).state is MachineState.PAUSED)
    stopped = stop(paths, timeout_s=60)
    assert stopped.how == "quit" and stopped.took_s < 30


def test_force_asks_no_guest(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths)))
    listens(paths)
    assert stop(paths, timeout_s=60, force=True).how == "quit"
    nothing_is_left(paths)


def left_running(paths: MachinePaths, **options: Any) -> str:
    """See that a stop says no, names --force and leaves the machine alone; return what it says."""
    pid = state.observe(paths).pid
    with pytest.raises(MachineError, match="m still runs: its guest cannot be asked to shut down") as refusal:
        stop(paths, **options)
    assert refusal.value.exit_code == 1 and "pommel stop --force m" in str(refusal.value.hint)
    assert (state.observe(paths).state, state.observe(paths).pid) == (MachineState.RUNNING, pid)
    assert words(paths)[-2:] == ["stop", "stop called off"]
    return refusal.value.message


def test_a_hung_qemu_is_killed_by_force_alone(paths: MachinePaths) -> None:
    pid = lifecycle.start(paths, argv(paths)).pid
    os.kill(pid, signal.SIGSTOP)
    events: list[Progress] = []
    left_running(paths, timeout_s=60, patience=HURRIED, report=events.append)
    assert any(event.warning and "did not answer" in event.text for event in events)
    assert stop(paths, force=True, patience=HURRIED).how == "kill"
    nothing_is_left(paths)


@contextlib.contextmanager
def occupied(*sockets: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for path in sockets:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(path)
            client.recv(1)  # it is our turn
        yield


@contextlib.contextmanager
def qmp_open(paths: MachinePaths) -> Iterator[Callable[[], None]]:
    """A connection from before the sockets went, and what presses the power button over it."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(paths.qmp))
        client.recv(4096)
        client.sendall(b'{"execute": "qmp_capabilities"}\n')
        yield lambda: client.sendall(b'{"execute": "system_powerdown"}\n')


def test_a_busy_monitor_is_gone_round(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths)))
    listens(paths)
    with occupied(str(paths.qmp)):
        assert stop(paths, timeout_s=30, patience=HURRIED).how == "acpi"
    nothing_is_left(paths)


def test_with_both_monitors_busy_qemu_is_ended_by_force_alone(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    with occupied(str(paths.qmp), str(paths.qmp_watch)):
        left_running(paths, timeout_s=30, patience=Patience(qmp_s=0.3))
        assert stop(paths, force=True, patience=Patience(qmp_s=0.3)).how == "term"
    nothing_is_left(paths)


def test_with_its_sockets_gone_qemu_is_ended_by_force_alone(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    shutil.rmtree(paths.runtime)
    assert f"its sockets are missing in {paths.runtime}" in left_running(paths, timeout_s=30)
    left_running(paths, timeout_s=0)  # no time is no force
    assert "its sockets are missing" in state.observe(paths, ask_s=5).detail
    assert stop(paths, force=True).how == "term"
    nothing_is_left(paths)


def test_with_its_sockets_gone_a_guest_that_is_told_from_inside_has_all_the_time(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths)))
    listens(paths)
    with qmp_open(paths) as press:
        shutil.rmtree(paths.runtime)

        def tell() -> bool:
            threading.Timer(1.2, press).start()  # it takes longer than half of the time
            return True

        assert stop(paths, timeout_s=2, ask_guest=tell, patience=HURRIED).how == "guest"
    nothing_is_left(paths)


def test_stopping_what_is_stopped(paths: MachinePaths) -> None:
    assert stop(paths).how == "already stopped"
    nothing_is_left(paths)


def test_stopping_what_crashed_tidies_up(paths: MachinePaths) -> None:
    pid = lifecycle.start(paths, argv(paths)).pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert state.observe(paths).state is MachineState.CRASHED
    assert stop(paths).how == "already stopped"
    nothing_is_left(paths)


def test_a_stranger_with_an_old_pid_is_never_touched(paths: MachinePaths) -> None:
    stranger = pommel("print('up', flush=True)\ntime.sleep(60)", paths)
    assert stranger.stdout is not None
    stranger.stdout.readline()
    try:
        paths.pidfile.write_text(f"{stranger.pid}\n")
        state.mark_running(paths, stranger.pid)
        assert stop(paths, force=True).how == "already stopped"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        finish(stranger)


def test_ctrl_c_while_it_waits_leaves_the_machine_as_it_is(paths: MachinePaths) -> None:
    pid = lifecycle.start(paths, argv(paths)).pid
    code = "lifecycle.stop(paths, timeout_s=60, report=lambda event: print(event.step, flush=True))"
    stopper = pommel(code, paths, stderr=-3, start_new_session=True)
    assert stopper.stdout is not None
    assert stopper.stdout.readline() == "stop\n"
    os.kill(stopper.pid, signal.SIGINT)
    assert finish(stopper)[0] == -signal.SIGINT
    seen = state.observe(paths, ask_s=5)
    assert (seen.state, seen.pid) == (MachineState.RUNNING, pid)


def test_force_overtakes_a_patient_stop(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    hows: list[str] = []
    waits = threading.Event()
    patient = threading.Thread(target=lambda: hows.append(stop(paths, timeout_s=60, report=lambda _: waits.set()).how))
    patient.start()
    assert waits.wait(20)
    began = time.monotonic()
    assert stop(paths, force=True).how == "quit"
    patient.join(20)
    assert hows == ["acpi"] and time.monotonic() - began < 30
    nothing_is_left(paths)


def test_stop_by_another_process_than_the_starter(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    assert finish(pommel("print(lifecycle.stop(paths, force=True).how)", paths)) == (0, "quit")
    assert state.observe(paths).state is MachineState.STOPPED


def test_a_guest_that_is_told_from_inside_shuts_down(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths)))
    listens(paths)
    ask(paths, "stop")  # one whose vCPUs stand would not hear it

    def tell() -> bool:
        ask(paths, "system_powerdown")  # stands for a shutdown over SSH: the ladder itself presses nothing
        return True

    events: list[Progress] = []
    stopped = stop(paths, timeout_s=60, ask_guest=tell, report=events.append)
    assert (stopped.how, stopped.text) == ("guest", "the guest was asked over SSH to shut down, and did")
    assert not any("power button pressed" in event.text for event in events)
    nothing_is_left(paths)


def test_a_guest_that_ends_while_it_is_told(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths)))
    listens(paths)

    def tell() -> bool:
        ask(paths, "system_powerdown")
        wait_until(lambda: qemus(paths) == [] or state.observe(paths).state is MachineState.STOPPED)
        return False  # the connection broke off

    assert stop(paths, timeout_s=60, ask_guest=tell).how == "guest"
    nothing_is_left(paths)


@pytest.mark.parametrize("heard", [True, False, None])
def test_the_button_is_pressed_when_a_word_does_not_help(paths: MachinePaths, heard: bool | None) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths)))
    listens(paths)
    events: list[Progress] = []

    def tell() -> bool:
        if heard is None:
            raise MachineError("ssh fell over")
        return heard

    assert stop(paths, timeout_s=1 if heard else 60, ask_guest=tell, report=events.append).how == "acpi"
    assert any(event.warning and "ssh fell over" in event.text for event in events) == (heard is None)
    nothing_is_left(paths)


def test_force_does_not_speak_to_the_guest(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    assert stop(paths, force=True, ask_guest=lambda: pytest.fail("it was asked")).how == "quit"


def words(paths: MachinePaths) -> list[str]:
    return [event.word for event in read(paths)]


def test_a_kill_is_noted_before_it_is_done_and_names_the_danger(paths: MachinePaths) -> None:
    pid = lifecycle.start(paths, argv(paths)).pid
    os.kill(pid, signal.SIGSTOP)
    assert "qemu-img check" in stop(paths, force=True, patience=HURRIED).text
    assert words(paths) == ["start", "running", "stop", "kill", "stopped"]


def test_events_of_what_is_stopped_and_of_what_crashed(paths: MachinePaths) -> None:
    stop(paths)
    assert words(paths) == []
    pid = lifecycle.start(paths, argv(paths)).pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    stop(paths)
    assert words(paths) == ["start", "running", "crashed", "stopped"]


def test_ctrl_c_says_how_the_machine_is_left(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths, *obedient(paths, presses=200)))
    listens(paths)
    said: list[str] = []

    def report(event: Progress) -> None:
        if event.warning:
            said.append(event.text)
        elif "power button pressed" in event.text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop(paths, timeout_s=60, report=report)
    assert said == ["no longer waiting: m still runs; its guest was asked to end, and may still do so"]
    assert state.observe(paths, ask_s=5).state is MachineState.RUNNING
    assert words(paths)[-1] == "stop called off"
