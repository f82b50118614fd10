"""Starting real QEMUs: what stands afterwards, whatever happens meanwhile."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from pommel import locks
from pommel.errors import BusyError, DeadlineError, MachineError, MissingProgram, StateError
from pommel.machine import events, lifecycle, state
from pommel.machine.state import MachineState
from pommel.paths import MachinePaths
from pommel.progress import Progress
from waits import wait_until

from .bare import argv, finish, make, pommel, qemus, short_home
from .guests import make_disk


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


def nothing_is_left(paths: MachinePaths) -> None:
    wait_until(lambda: qemus(paths) == [])
    assert state.observe(paths).state is MachineState.STOPPED
    assert not any(path.exists() for path in (paths.pidfile, paths.qmp, paths.qmp_watch, state.run_file(paths)))


def test_start_leaves_a_machine_that_answers(paths: MachinePaths) -> None:
    events: list[Progress] = []
    started = lifecycle.start(paths, argv(paths), accel="tcg", report=events.append)
    assert qemus(paths) == [started.pid]
    seen = state.observe(paths, ask_s=5)
    assert (seen.state, seen.pid, seen.accel, seen.detail) == (MachineState.RUNNING, started.pid, "tcg", "")
    assert os.getsid(started.pid) == started.pid != os.getsid(0)
    assert not events[0].finished and events[-1].finished


def test_a_second_start_is_refused_and_harms_nothing(paths: MachinePaths) -> None:
    started = lifecycle.start(paths, argv(paths))
    with pytest.raises(StateError, match=rf"already running \(pid {started.pid}\)") as refusal:
        lifecycle.start(paths, argv(paths))
    assert refusal.value.exit_code == 3
    assert state.observe(paths, ask_s=5).state is MachineState.RUNNING


def test_a_qemu_that_dies_at_start_shows_this_runs_log_only(paths: MachinePaths) -> None:
    for device in ("first-fancy", "second-fancy"):
        with pytest.raises(MachineError) as failure:
            lifecycle.start(paths, argv(paths, "-device", device))
        assert f"'{device}' is not a valid device model name" in failure.value.message
        assert "exit status 1" in failure.value.message
        assert failure.value.hint == "pommel log m"
    assert "first-fancy" not in failure.value.message
    assert paths.log.read_text().count("=== ") == 2
    nothing_is_left(paths)
    assert lifecycle.start(paths, argv(paths)).pid == state.observe(paths).pid


def test_a_qemu_that_dies_by_a_signal_says_which(paths: MachinePaths) -> None:
    with pytest.raises(MachineError, match="QEMU ended with SIGABRT:\nit printed nothing"):
        lifecycle.start(paths, ["sh", "-c", "kill -ABRT $$"])
    nothing_is_left(paths)


def test_no_qemu_on_this_host(paths: MachinePaths) -> None:
    with pytest.raises(MissingProgram, match="qemu-system-nonesuch"):
        lifecycle.start(paths, ["qemu-system-nonesuch"])
    nothing_is_left(paths)


def test_a_qemu_that_never_answers_is_ended(paths: MachinePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "ANSWERS_S", 0.5)
    silent = [word.replace("qmp", "other") for word in argv(paths)]
    silent = [word if word != "-other" else "-qmp" for word in silent]
    with pytest.raises(DeadlineError, match="did not answer in time"):
        lifecycle.start(paths, silent)
    nothing_is_left(paths)


def test_a_qemu_without_our_pidfile_is_ended(paths: MachinePaths) -> None:
    words = [word.replace("qemu.pid", "elsewhere.pid") for word in argv(paths)]
    with pytest.raises(MachineError, match="does not lock"):
        lifecycle.start(paths, words)
    wait_until(lambda: locks.holder(paths.directory / "elsewhere.pid") is None)
    assert state.observe(paths).state is MachineState.STOPPED


def test_a_full_disk_is_told_and_nothing_starts(paths: MachinePaths) -> None:
    paths.log.symlink_to("/dev/full")
    with pytest.raises(MachineError, match=r"cannot be started.*No space left"):
        lifecycle.start(paths, argv(paths))
    nothing_is_left(paths)


def test_after_kill_9_it_has_crashed_and_starts_again(paths: MachinePaths) -> None:
    first = lifecycle.start(paths, argv(paths)).pid
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    seen = state.observe(paths)
    assert (seen.state, seen.pid, seen.alive) == (MachineState.CRASHED, None, False)
    assert seen.detail
    second = lifecycle.start(paths, argv(paths)).pid
    assert second != first
    assert state.observe(paths, ask_s=5).state is MachineState.RUNNING


def test_two_starts_at_once_make_one_qemu(paths: MachinePaths) -> None:
    code = f"print(lifecycle.start(paths, {argv(paths)!r}).pid)"
    ends = [finish(child) for child in [pommel(code, paths) for _ in range(3)]]
    assert sorted(status for status, _ in ends) == [0, 3, 3]
    assert {said for status, said in ends if status == 3} <= {"StateError", "BusyError"}
    (pid,) = [int(said) for status, said in ends if status == 0]
    assert qemus(paths) == [pid] == [state.observe(paths).pid]


def test_start_waits_a_moment_for_whoever_is_at_work(paths: MachinePaths) -> None:
    other = pommel("with lifecycle.serialised(paths):\n    print('held', flush=True)\n    time.sleep(60)", paths)
    assert other.stdout is not None
    other.stdout.readline()
    try:
        with pytest.raises(BusyError, match=f"pid {other.pid}"):
            lifecycle.start(paths, argv(paths))
    finally:
        other.kill()
        finish(other)
    nothing_is_left(paths)


def test_start_under_a_lock_that_the_caller_holds(paths: MachinePaths) -> None:
    with locks.hold(paths.lock, busy="busy"):
        lifecycle.start(paths, argv(paths))
        assert locks.holder(paths.lock) == os.getpid()
    assert state.observe(paths).state is MachineState.RUNNING


def slow(paths: MachinePaths, seconds: float) -> list[str]:
    """A QEMU that is ready only after a while."""
    return ["sh", "-c", f'touch {begun(paths)}; sleep {seconds}; exec "$@"', "sh", *argv(paths)]


def begun(paths: MachinePaths) -> Path:
    """What is there once the slow QEMU has been spawned."""
    return paths.directory / "begun"


def test_ctrl_c_during_start_leaves_no_machine(paths: MachinePaths) -> None:
    starter = pommel(f"lifecycle.start(paths, {slow(paths, 30)!r})", paths, stderr=-3, start_new_session=True)
    wait_until(begun(paths).exists)
    assert state.observe(paths).state is MachineState.STARTING
    os.killpg(starter.pid, signal.SIGINT)
    assert finish(starter)[0] == -signal.SIGINT
    nothing_is_left(paths)


def test_kill_9_of_the_starter_leaves_a_machine_that_runs(paths: MachinePaths) -> None:
    starter = pommel(f"lifecycle.start(paths, {slow(paths, 0.5)!r})", paths)
    wait_until(begun(paths).exists)
    assert state.observe(paths).state is MachineState.STARTING
    starter.kill()
    finish(starter)
    wait_until(lambda: state.observe(paths).alive)
    wait_until(lambda: state.observe(paths, ask_s=1).detail == "")
    assert state.observe(paths).state is MachineState.RUNNING
    with pytest.raises(StateError):
        lifecycle.start(paths, argv(paths))


def test_the_machine_lives_on_when_its_terminal_closes(paths: MachinePaths) -> None:
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have had it ignored (nohup)
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    starter = pommel(
        f"print(lifecycle.start(paths, {argv(paths)!r}).pid, flush=True)\ntime.sleep(60)",
        paths,
        stdin=theirs,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    os.close(ours)  # the terminal hangs up
    assert finish(starter)[0] == -signal.SIGHUP
    seen = state.observe(paths, ask_s=5)
    assert (seen.state, seen.pid) == (MachineState.RUNNING, pid)


def test_start_in_a_thread_of_an_event_loop(paths: MachinePaths) -> None:
    import asyncio

    async def serve() -> int:
        return (await asyncio.to_thread(lifecycle.start, paths, argv(paths))).pid

    assert asyncio.run(serve()) == state.observe(paths).pid


def test_a_start_is_noted_and_so_is_one_that_fails(paths: MachinePaths) -> None:
    with pytest.raises(MachineError):
        lifecycle.start(paths, argv(paths, "-device", "nonesuch"))
    pid = lifecycle.start(paths, argv(paths), accel="tcg").pid
    told = events.read(paths)
    assert [event.word for event in told] == ["start", "start failed", "start", "running"]
    assert "'nonesuch' is not a valid device model name" in told[1].text
    assert told[3].text == f"QEMU answers (pid {pid}, tcg)"
    assert told[2].qemu_log == told[3].qemu_log == paths.log.stat().st_size


def test_what_is_discarded_goes_to_the_machines_own_disk(paths: MachinePaths) -> None:
    make_disk(paths.disk)
    drive = f"if=none,id=d,format=qcow2,snapshot=on,file={paths.disk}"
    pid = lifecycle.start(paths, argv(paths, "-drive", drive)).pid
    opened = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
    assert any(name.startswith(f"{paths.directory}/vl.") and name.endswith(" (deleted)") for name in opened)


def test_what_a_killed_qemu_left_half_made_is_swept(paths: MachinePaths) -> None:
    left = paths.directory / "vl.a1B2c3"
    left.touch()
    lifecycle.start(paths, argv(paths))
    assert not left.exists()
