"""One at a time, and a clean place to begin."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pommel import locks
from pommel.errors import BusyError
from pommel.machine import lifecycle, state
from pommel.machine.exclusive import serialised, sweep
from pommel.paths import MachinePaths

from .bare import argv, finish, make, pommel, short_home


@pytest.fixture
def paths() -> Iterator[MachinePaths]:
    with short_home() as home:
        yield make(home)


def test_another_process_waits_then_is_refused(paths: MachinePaths) -> None:
    code = "with lifecycle.serialised(paths, wait_s=0.1):\n    print('in')"
    with serialised(paths):
        assert locks.holder(paths.lock) == os.getpid()
        assert finish(pommel(code, paths)) == (BusyError.exit_code, "BusyError")
    assert finish(pommel(code, paths)) == (0, "in")


def test_inside_a_lock_of_our_own_it_stays_ours(paths: MachinePaths) -> None:
    with serialised(paths):
        with serialised(paths):
            pass
        assert finish(pommel("with lifecycle.serialised(paths, wait_s=0):\n    pass", paths))[1] == "BusyError"


def test_sweep_takes_leftovers(paths: MachinePaths) -> None:
    paths.make_runtime()
    left = (paths.qmp, paths.qmp_watch, paths.vnc, paths.pidfile)
    for path in left:
        path.touch()
    state.mark_running(paths, os.getpid())
    sweep(paths)
    assert not any(path.exists() for path in (*left, state.run_file(paths)))
    sweep(paths)


def test_sweep_takes_nothing_from_a_living_machine(paths: MachinePaths) -> None:
    lifecycle.start(paths, argv(paths))
    sweep(paths)
    assert state.observe(paths, ask_s=5).detail == ""
    assert paths.pidfile.exists() and paths.qmp.exists()
