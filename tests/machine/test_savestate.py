"""A machine that sleeps on disk and wakes up in another QEMU."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from pommel import locks
from pommel.errors import MachineError, StateError
from pommel.machine import disk, lifecycle, savestate, snapshots, state
from pommel.machine.state import MachineState
from pommel.paths import MachinePaths
from waits import wait_until

from .bare import argv, finish, make, pommel, short_home
from .guests import ask, count_in_ram, count_on_disk, drives, is_running, make_disk


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        made = make(home)
        make_disk(made.disk)
        lifecycle.start(made, argv(made, *drives(made)))
        wait_until(lambda: count_in_ram(made) > 3)
        yield made


def start(paths: MachinePaths, *extra: str) -> None:
    lifecycle.start(paths, argv(paths, *drives(paths), *extra))


def test_it_goes_on_where_it_slept(paths: MachinePaths) -> None:
    saved = savestate.sleep(paths)
    assert saved.ram and savestate.asleep(paths) == saved
    assert state.observe(paths).state is MachineState.STOPPED
    slept_at = count_on_disk(paths.disk)
    start(paths, *savestate.START_ARGS)
    savestate.wake(paths)
    assert is_running(paths) and count_in_ram(paths) >= slept_at
    wait_until(lambda: count_in_ram(paths) > slept_at + 5)
    assert savestate.asleep(paths) is None
    lifecycle.stop(paths, force=True)
    assert disk.snapshot_tags(paths.disk) == {} and disk.check(paths.disk).sound
    assert count_on_disk(paths.disk) > slept_at


def test_a_machine_that_cannot_sleep_goes_on_and_says_why(paths: MachinePaths) -> None:
    lifecycle.stop(paths, force=True)
    start(paths, "-device", "nvme,serial=x")
    with pytest.raises(MachineError, match=r"cannot be saved with its RAM: .*nvme"):
        savestate.sleep(paths)
    assert is_running(paths) and savestate.asleep(paths) is None


def test_one_that_was_paused_stays_so_when_it_cannot_sleep(paths: MachinePaths) -> None:
    lifecycle.stop(paths, force=True)
    start(paths, "-device", "nvme,serial=x")
    ask(paths, "stop")
    with pytest.raises(MachineError):
        savestate.sleep(paths)
    assert not is_running(paths)


def test_it_still_sleeps_when_it_cannot_wake(paths: MachinePaths) -> None:
    savestate.sleep(paths)
    start(paths, "-m", "24", *savestate.START_ARGS)
    with pytest.raises(MachineError, match="QEMU says"):
        savestate.wake(paths)
    lifecycle.stop(paths, force=True)
    start(paths, *savestate.START_ARGS)
    savestate.wake(paths)
    assert is_running(paths)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("moment", ["snapshot-load", "cont", "snapshot-delete"])
def test_killed_while_it_wakes_it_never_wakes_twice(paths: MachinePaths, moment: str, before: bool) -> None:
    savestate.sleep(paths)
    start(paths, *savestate.START_ARGS)
    code = f"""
    import signal
    from pommel.machine import savestate
    from pommel.machine.qmp import Qmp
    real = Qmp.execute
    async def deadly(self, command, arguments=None):
        if command == {moment!r} and {before}: os.kill(os.getpid(), signal.SIGKILL)
        done = await real(self, command, arguments)
        if command == {moment!r}: os.kill(os.getpid(), signal.SIGKILL)
        return done
    Qmp.execute = deadly
    savestate.wake(paths)
    """
    assert finish(pommel(code, paths))[0] == -signal.SIGKILL
    assert not (is_running(paths) and savestate.asleep(paths))


def test_its_ram_can_be_let_go(paths: MachinePaths) -> None:
    savestate.sleep(paths)
    savestate.forget(paths)
    assert savestate.asleep(paths) is None and snapshots.list_snapshots(paths) == []
    start(paths)
    wait_until(lambda: count_in_ram(paths) > 0)


def test_who_does_not_run_or_sleep(paths: MachinePaths) -> None:
    for act in (savestate.wake, savestate.forget):
        with pytest.raises(StateError, match="is not asleep"):
            act(paths)
    lifecycle.stop(paths, force=True)
    with pytest.raises(StateError, match="not running"):
        savestate.sleep(paths)
    assert locks.holder(paths.pidfile) is None
